"""What is wrong with labels that a task reads from a table of its own, which no layout of a data folder knows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LabelTrouble"]


@dataclass(frozen=True, slots=True)
class LabelTrouble:
    """One reason for which labels cannot be used.

    Args:
        key: Key path of what it is about: `data.labels`, `data.test`, `heads`.
        message: What was found and what was expected.
        hint: What to change.
        trains: Whether training stops at it; else only a later evaluation does.
    """

    key: str
    message: str
    hint: str = ""
    trains: bool = True
