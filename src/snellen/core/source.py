"""The evidence that a rule's source facet is given: calls and assignments of one parsed file, names resolved.

Plain data: a rule never sees a syntax tree. Lines count from 1, columns from 0; ends are exclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from snellen.core.finding import Edit, Evidence, Fix, Level

__all__ = [
    "UNKNOWN",
    "Argument",
    "Assignment",
    "CallSite",
    "Hit",
    "Import",
    "Origin",
    "ShellCommand",
    "SourceFile",
    "Span",
    "TryBlock",
    "Unknown",
]


class Unknown:
    """The type of `UNKNOWN`: a value that the source does not settle."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of source text."""

    start_line: int
    start_column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from.

    Args:
        name: Qualified name of the call that made it, for example `yaml.safe_load`.
        call: That call.
        through: What was done to it since and kept its contents: names of methods and functions such as `view`,
            `[]` for an index or a key, `.lr` for an attribute.
    """

    name: str
    call: CallSite
    through: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call.

    Args:
        code: The text as written.
        span: Where the value stands.
        name: Keyword, or `None` for a positional argument.
        value: The constant it is known to be (a literal, or a name that holds one), else `UNKNOWN`.
        origin: The call that its value came from, `None` when that is not known.
    """

    code: str
    span: Span
    name: str | None = None
    value: object = UNKNOWN
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class CallSite:
    """One call.

    Args:
        name: Qualified name: `torch.nn.functional.unfold`; a method on something unknown starts with a dot
            (`.masked_fill`); `a @ b` is `operator.matmul`; calling an object whose class is known reads
            `torch.nn.Unfold.forward`.
        code: The whole call as written.
        span: Where the call stands.
        arguments: In the order written.
        receiver: Text of what the method is called on, `None` for a function.
        receiver_origin: The call that made the receiver, when it is known.
        function: Dotted path of the enclosing functions and classes, `""` at module level.
        contexts: Qualified names of the `with` items around it, outermost first, for example `torch.autocast`.
        in_loop: Whether it stands in a loop of its own function.
        target: The name that its result is assigned to, if it is one.
        discarded: Whether nothing is done with its result.
    """

    name: str
    code: str
    span: Span
    arguments: tuple[Argument, ...] = ()
    receiver: str | None = None
    receiver_origin: Origin | None = None
    function: str = ""
    contexts: tuple[str, ...] = ()
    in_loop: bool = False
    target: str | None = None
    discarded: bool = False

    @property
    def method(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    def argument(self, position: int, name: str) -> Argument | None:
        """The argument given by keyword or at a position (from 0), if any."""
        for argument in self.arguments:
            if argument.name == name:
                return argument
        positional = [argument for argument in self.arguments if argument.name is None]
        return positional[position] if position < len(positional) else None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One assignment to a name or an attribute.

    Args:
        target: Text of the left side; `return` for a returned value.
        code: Text of the right side.
        span: Where the right side stands.
        value: The constant on the right, else `UNKNOWN`.
        call: The call on the right, if it is one.
        function: Dotted path of the enclosing functions and classes.
    """

    target: str
    code: str
    span: Span
    value: object = UNKNOWN
    call: CallSite | None = None
    function: str = ""


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
    is_notebook: bool = False
    elsewhere: tuple[SourceFile, ...] = ()

    def calls_to(self, *names: str) -> Iterator[CallSite]:
        """Calls whose qualified name is one of `names`; a name that starts with a dot matches any receiver."""
        exact = {name for name in names if not name.startswith(".")}
        methods = {name[1:] for name in names if name.startswith(".")}
        return (call for call in self.calls if call.name in exact or call.method in methods)

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
