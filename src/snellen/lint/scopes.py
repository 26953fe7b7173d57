"""What names stand for: constants, and the calls that their values came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from snellen.core.source import UNKNOWN, Origin

__all__ = ["Binding", "Knowledge", "Scope"]


@dataclass(frozen=True, slots=True)
class Binding:
    """What one assignment says of a name."""

    value: object = UNKNOWN
    origin: Origin | None = None


@dataclass(slots=True)
class Scope:
    """The names of one function, class or module."""

    bindings: dict[str, Binding] = field(default_factory=dict)

    def bind(self, name: str, binding: Binding) -> None:
        """Take note of an assignment; a name that is given two different constants is no constant."""
        before = self.bindings.get(name)
        if before is not None and before.value is not binding.value and before.value != binding.value:
            binding = Binding(UNKNOWN, binding.origin)
        self.bindings[name] = binding


@dataclass(slots=True)
class Knowledge:
    """What a first reading of a file found out, for the second one.

    Args:
        returns: Where a function's result comes from, by its name; also `stem.name` for those of other files.
        parameters: Where the values passed for a function's parameter come from.
        attributes: What `self.name` holds, by `Class.name`.
        names: What the names of the module hold at its end, when its functions are called.
    """

    returns: dict[str, Origin] = field(default_factory=dict)
    parameters: dict[tuple[str, int | str], Origin | None] = field(default_factory=dict)
    attributes: dict[str, Binding] = field(default_factory=dict)
    names: dict[str, Binding] = field(default_factory=dict)

    def result_of(self, name: str, others: Mapping[str, Origin]) -> Origin | None:
        """Where the result of a function comes from, when it is one of the project's own."""
        return self.returns.get(name) or others.get(".".join(name.split(".")[-2:]))
