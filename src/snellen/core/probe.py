"""The evidence that a rule's probe is given: this machine, asked without changing it.

`explain --probe` asks the rule that answered whether what it claims holds here and now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias

from snellen.core.log import Log

__all__ = ["Answer", "Here", "Outcome", "Probe", "Ran"]


class Outcome(StrEnum):
    """What a probe found out about the claim."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe says, and what it saw.

    Args:
        outcome: Whether the claim holds on this machine.
        text: What was looked at and what was found, with the values.
    """

    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended.

    Args:
        code: Its exit status; negative for a signal, `None` when it ran out of time or could not be started.
        output: What it printed, both streams, at most the last 100,000 characters.
    """

    code: int | None
    output: str


class Here(Protocol):
    """This machine."""

    @property
    def root(self) -> Path:
        """The folder that relative paths of the log start from."""
        ...

    def version(self, package: str) -> str | None:
        """Version of an installed distribution, read without importing it; `None` when it is not installed."""
        ...

    def can_import(self, module: str) -> bool:
        """Whether Python would find a module, without importing it."""
        ...

    def python(self, code: str, seconds: float = 60) -> Ran:
        """Run Python code in a process of its own, with the user's interpreter."""
        ...

    def command(self, *arguments: str, seconds: float = 20) -> Ran:
        """Run a program that only looks, for example `nvidia-smi`."""
        ...


Probe: TypeAlias = Callable[[Log, Here], Answer]
"""Asks this machine whether what a rule claims about a log holds here."""
