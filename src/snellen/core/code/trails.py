"""What `snellen.core.code.flow` answers with, and what it looks names up in."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TypeAlias

from snellen.core.calls import UNKNOWN, Assignment, CallSite, Span
from snellen.core.code.expressions import Keys, parsed
from snellen.core.source import FunctionBlock, Loop, SourceFile

__all__ = ["WRITTEN", "Given", "Names", "Step", "Trail", "parts_of", "targets_of"]

_MOST_PARTS = 150
_GROWING = ("append", "extend", "insert", "appendleft", "add", "put")

WRITTEN: Keys = ("[]=",)
"""The part of a name that `name[...] = value` gives."""

Given: TypeAlias = "tuple[Assignment | Loop, Keys]"
"""A statement that gives a name its value, and which part of the right side the name is given."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done to a value.

    Args:
        name: Qualified name of a call, `[]` for an index, `.T` for an attribute, an operator such as `/` (in place
            `/=`), `append` for what was put into a list, `item` for what was taken from something that is looped over,
            `[]=` for what was written into a part of something, `compare`.
        code: The whole expression as written.
        span: Where it stands.
        path: In which file.
        call: The call, if it is one.
        value: What an operator was given besides the value, when that is a constant: 255.0 of `image / 255.0`.
        plain: Whether the contents are handed on as they are: by a function of the project whose inner steps are in the
            trail already, by `enumerate` or a `DataLoader`, as an item of a list.
    """

    name: str
    code: str
    span: Span
    path: str
    call: CallSite | None = None
    value: object = UNKNOWN
    plain: bool = False

    @property
    def method(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Trail:
    """One way of a value.

    Args:
        start: What it was made from: a call, else a step called `constant`, or `name` for a name that nothing in the
            text explains.
        steps: What was done since, in that order.
        names: Names that it had on the way, the latest first.
    """

    start: Step
    steps: tuple[Step, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that do something to the contents."""
        return tuple(step for step in self.steps if not step.plain)


def targets_of(text: str) -> list[tuple[str, Keys]]:
    """The names on a left side, each with the part of the right side that it is given.

    Example:
        >>> targets_of("n, (image, mask)")
        [('n', (0,)), ('image', (1, 0)), ('mask', (1, 1))]
    """
    if text == "return":
        return [(text, ())]
    node = parsed(text)
    if isinstance(node, (ast.Tuple, ast.List)):
        parts = [targets_of(ast.unparse(item)) for item in node.elts]
        return [(name, (position, *keys)) for position, found in enumerate(parts) for name, keys in found]
    if isinstance(node, ast.Subscript):
        return [(ast.unparse(node.value), WRITTEN)]
    return [(text, ())] if isinstance(node, (ast.Name, ast.Attribute)) else []


def parts_of(file: SourceFile) -> tuple[SourceFile, ...]:
    """A file and the others of its project, as long as these are few enough to be about one thing.

    What one part of a large library says of networks and constants tells nothing of another.
    """
    return (file, *file.elsewhere) if len(file.elsewhere) <= _MOST_PARTS else (file,)


class Names:
    """The calls, functions and names of one file, for quick access."""

    def __init__(self, file: SourceFile) -> None:
        self.calls = {call.span: call for call in file.calls}
        self.functions = {block.name: block for block in file.functions}
        self.classes = {block.name.rpartition(".")[2]: block.name for block in file.classes}
        self.growing: dict[str, list[CallSite]] = {}
        for call in file.calls:
            if call.receiver is not None and call.method in _GROWING and call.arguments:
                self.growing.setdefault(call.receiver, []).append(call)
        self.entered = _entered(file)
        self.assigned: dict[str, list[Given]] = {}
        self.looped: dict[str, list[Given]] = {}
        for item in file.assignments:
            for name, keys in targets_of(item.target):
                self.assigned.setdefault(name, []).append((item, keys))
        for loop in file.loops:
            for name, keys in targets_of(loop.target) if loop.kind == "for" else ():
                self.looped.setdefault(name, []).append((loop, keys))

    def function(self, name: str) -> FunctionBlock | None:
        """A function of this file by its whole name, or by its last part when only one has that."""
        if name in self.functions:
            return self.functions[name]
        same = [block for block in self.functions.values() if block.name.rpartition(".")[2] == name]
        return same[0] if len(same) == 1 else None

    def given(self, name: str, function: str, span: Span, conditions: tuple[str, ...]) -> list[Given]:
        """Statements that may have given a name its value before a place, the latest first.

        Args:
            name: As written: `image`, `self.image`.
            function: Dotted path of the function that it is used in.
            span: Where it is used.
            conditions: The tests around that place.
        """
        loops = [
            (loop, keys) for loop, keys in self.looped.get(name, ()) if loop.span.start <= span.start < loop.span.end
        ]
        candidates: list[Given] = [*self.assigned.get(name, ()), *loops]
        if "." in name:
            owner = function.partition(".")[0]
            return _latest([one for one in candidates if one[0].function.partition(".")[0] == owner], conditions)
        scope = function
        while candidates:
            here = [one for one in candidates if one[0].function == scope]
            if scope == function:
                here = [one for one in here if isinstance(one[0], Loop) or one[0].span.end <= span.start]
            block = self.functions.get(scope)
            if here or not scope or (block is not None and name in block.parameters):
                return _latest(here, conditions)
            scope = scope.rpartition(".")[0]
        return []


def _entered(file: SourceFile) -> dict[str, list[tuple[Span, CallSite]]]:
    """By name, the calls of `with call(...) as name`, each with what runs under it."""
    found: dict[str, list[tuple[Span, CallSite]]] = {}
    lines = file.text.split("\n") if file.withs else []
    for block in file.withs:
        for call in block.calls:
            rest = lines[call.span.end_line - 1][call.span.end_column :].split()[:2]
            if rest[:1] == ["as"]:
                found.setdefault(rest[-1].rstrip(":,)"), []).append((block.span, call))
    return found


def _latest(candidates: list[Given], conditions: tuple[str, ...]) -> list[Given]:
    """The last statement, and those before it that it does not always replace."""
    chosen: list[Given] = []
    for item, keys in sorted(candidates, key=lambda candidate: candidate[0].span.start, reverse=True):
        tests = item.conditions if isinstance(item, Assignment) else ()
        if any(one == f"not ({other})" or other == f"not ({one})" for one in tests for other in conditions):
            continue
        chosen.append((item, keys))
        partial = keys == WRITTEN or (isinstance(item, Assignment) and item.operator != "")
        if not partial and set(tests) <= set(conditions):
            break
    return chosen[:6]
