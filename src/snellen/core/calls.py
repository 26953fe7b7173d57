"""The small facts of a source file: places, values, calls and assignments.

Plain data: a rule never sees a syntax tree. Lines count from 1, columns from 0; ends are exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["UNKNOWN", "Argument", "Assignment", "CallSite", "Origin", "Span", "Unknown"]


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

    @property
    def start(self) -> tuple[int, int]:
        """Line and column of the first character: what comes first in the text is smaller."""
        return self.start_line, self.start_column

    @property
    def end(self) -> tuple[int, int]:
        """Line and column after the last character."""
        return self.end_line, self.end_column

    def contains(self, other: Span) -> bool:
        """Whether the other stretch lies within this one.

        Example:
            >>> Span(1, 0, 9, 0).contains(Span(3, 4, 3, 8))
            True
        """
        return self.start <= other.start and other.end <= self.end


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
        receiver_origin: The call that made the receiver, or the object that is called, when it is known.
        function: Dotted path of the enclosing functions and classes, `""` at module level.
        contexts: Qualified names of the decorators of its function and of the `with` items around it, outermost first,
            for example `torch.autocast`.
        conditions: Texts of the `if` tests around it in its own function, outermost first; `not (...)` in an `else`.
        in_loop: Whether it stands in a loop or a comprehension of its own function.
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
    conditions: tuple[str, ...] = ()
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
        origin: The call that the value on the right came from, when it is known.
        operator: `+` of `total += loss`, `""` of a plain assignment.
        function: Dotted path of the enclosing functions and classes.
        conditions: Texts of the `if` tests around it in its own function, outermost first.
        owner: The call that made the object whose attribute is set, when it is known.
    """

    target: str
    code: str
    span: Span
    value: object = UNKNOWN
    call: CallSite | None = None
    origin: Origin | None = None
    operator: str = ""
    function: str = ""
    conditions: tuple[str, ...] = ()
    owner: Origin | None = None
