"""The evidence that a rule's source facet is given: calls and assignments of one parsed file, names resolved.

Plain data: a rule never sees a syntax tree. Lines count from 1, columns from 0; ends are exclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from snellen.core.calls import UNKNOWN, Argument, Assignment, CallSite, Origin, Span, Unknown
from snellen.core.finding import Edit, Evidence, Fix, Level

__all__ = [
    "UNKNOWN",
    "Argument",
    "Assignment",
    "CallSite",
    "ClassBlock",
    "FunctionBlock",
    "Hit",
    "Idle",
    "Import",
    "Loop",
    "Origin",
    "Setting",
    "ShellCommand",
    "SourceFile",
    "Span",
    "TryBlock",
    "Unknown",
    "WithBlock",
]


@dataclass(frozen=True, slots=True)
class Loop:
    """One `for`, `while` or comprehension.

    Args:
        kind: `for`, `while` or `comprehension`.
        header: Text of what is looped over, or of the test.
        target: Text of the loop variable, `""` for `while`.
        span: The whole loop.
        origin: The call that what is looped over came from, when it is known.
        function: Dotted path of the enclosing functions and classes.
    """

    kind: str
    header: str
    target: str
    span: Span
    origin: Origin | None = None
    function: str = ""


@dataclass(frozen=True, slots=True)
class WithBlock:
    """One `with` statement.

    Args:
        items: Qualified names of what is entered, such as `torch.autocast`.
        calls: The calls among them, with their arguments.
        span: The whole statement.
        function: Dotted path of the enclosing functions and classes.
    """

    items: tuple[str, ...]
    calls: tuple[CallSite, ...]
    span: Span
    function: str = ""


@dataclass(frozen=True, slots=True)
class Idle:
    """A statement that does nothing: a comparison or an attribute whose value nobody takes.

    Args:
        kind: `comparison` (`p.requires_grad == False`) or `attribute` (`loss.backward`).
        code: As written.
        span: Where.
        function: Dotted path of the enclosing functions and classes.
    """

    kind: str
    code: str
    span: Span
    function: str = ""


@dataclass(frozen=True, slots=True)
class FunctionBlock:
    """One function or method.

    Args:
        name: Dotted path with the classes and functions around it: `Net.forward`.
        span: The whole definition.
        parameters: Their names, in order.
        decorators: Qualified names.
        code: Its text.
    """

    name: str
    span: Span
    parameters: tuple[str, ...] = ()
    decorators: tuple[str, ...] = ()
    code: str = ""


@dataclass(frozen=True, slots=True)
class ClassBlock:
    """One class.

    Args:
        name: Dotted path.
        span: The whole definition.
        bases: Qualified names.
    """

    name: str
    span: Span
    bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a YAML file.

    Args:
        key: Key path, such as `optim.lr`; items of lists by number: `data.mean.0`.
        value: As YAML 1.2 reads it; lists as tuples, and each of their items as a setting of its own.
        code: As written.
        span: Where the value stands.
        yaml11: As PyYAML, which reads YAML 1.1, would read it: `1e-4` is text there, `on` is true.
    """

    key: str
    value: object
    code: str
    span: Span
    yaml11: object = UNKNOWN


@dataclass(frozen=True, slots=True)
class TryBlock:
    """One `try` with one of its handlers.

    Args:
        exceptions: Qualified names of what is caught; empty for a bare `except:`.
        span: The `except` line.
        tried: Calls inside the `try`.
        swallows: Whether the handler does nothing but `pass`, `continue` or `...`.
        body: Text of the handler's body.
        function: Dotted path of the enclosing functions and classes.
    """

    exceptions: tuple[str, ...]
    span: Span
    tried: tuple[CallSite, ...] = ()
    swallows: bool = False
    body: str = ""
    function: str = ""


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, in the order of the text.

    Args:
        module: Dotted name as written.
        names: What is taken from it; empty for `import module`.
        line: Where.
    """

    module: str
    names: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ShellCommand:
    """A line of a notebook that the shell or IPython runs: `!git pull`, `%cd folder`.

    Args:
        code: The command without its mark.
        mark: `!` or `%`; `%%` for the lines of a whole shell cell.
        line: Where.
    """

    code: str
    mark: str
    line: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One parsed file.

    Args:
        path: As the user named it.
        text: Whole text; for a notebook the code cells, one after another.
        imports: Local name to qualified name.
        calls: In the order of the text.
        assignments: In the order of the text.
        tries: Handlers of exceptions, in the order of the text.
        imported: Import statements, in the order of the text.
        shell: Shell and IPython commands of a notebook.
        loops: In the order of the text.
        withs: `with` statements, in the order of the text.
        idle: Statements that do nothing, in the order of the text.
        functions: In the order of the text.
        classes: In the order of the text.
        settings: The values of a YAML file, in the order of the text; such a file has nothing of the above.
        is_notebook: Whether it is one.
        elsewhere: The other files of the same project, for facts that span files.
    """

    path: str
    text: str
    imports: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[CallSite, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    tries: tuple[TryBlock, ...] = ()
    imported: tuple[Import, ...] = ()
    shell: tuple[ShellCommand, ...] = ()
    loops: tuple[Loop, ...] = ()
    withs: tuple[WithBlock, ...] = ()
    idle: tuple[Idle, ...] = ()
    functions: tuple[FunctionBlock, ...] = ()
    classes: tuple[ClassBlock, ...] = ()
    settings: tuple[Setting, ...] = ()
    is_notebook: bool = False
    elsewhere: tuple[SourceFile, ...] = ()

    def calls_to(self, *names: str) -> Iterator[CallSite]:
        """Calls whose qualified name is one of `names`; a name that starts with a dot matches any receiver."""
        exact = {name for name in names if not name.startswith(".")}
        methods = {name[1:] for name in names if name.startswith(".")}
        return (call for call in self.calls if call.name in exact or call.method in methods)

    def calls_in(self, span: Span) -> Iterator[CallSite]:
        """Calls that lie within a stretch: a loop, a function."""
        return (call for call in self.calls if span.contains(call.span))

    def loops_around(self, span: Span) -> tuple[Loop, ...]:
        """The loops that a stretch lies in, outermost first."""
        return tuple(loop for loop in self.loops if loop.span.contains(span))

    def function_around(self, span: Span) -> FunctionBlock | None:
        """The innermost function that a stretch lies in."""
        return next((block for block in reversed(self.functions) if block.span.contains(span)), None)

    def edit(self, span: Span, replacement: str) -> Edit:
        """An edit of this file."""
        return Edit(self.path, span.start_line, span.start_column, span.end_line, span.end_column, replacement)


@dataclass(frozen=True, slots=True)
class Hit:
    """A source facet's finding in one file.

    Args:
        message: What is wrong here, with the values seen.
        span: Where.
        fix: What to write instead.
        evidence: Other places that the finding rests on.
        level: When it differs from the rule's own.
    """

    message: str
    span: Span
    fix: Fix | None = None
    evidence: tuple[Evidence, ...] = ()
    level: Level | None = None
