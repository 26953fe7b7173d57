"""The evidence that a rule's before facet is given: lazy facts about a run that has not started.

A `Plan` answers questions by name and computes each answer once, however many checks ask. Plain data only, so that a
check runs without torch wherever its facts do not need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from snellen.core.finding import Location
from snellen.errors import SnellenError

__all__ = ["Cost", "FactUnavailable", "NotApplicable", "Plan", "setting_place"]


class Cost(StrEnum):
    """What a check may take: `instant` reads settings, `seconds` reads files or imports torch, `minutes` runs steps."""

    INSTANT = "instant"
    SECONDS = "seconds"
    MINUTES = "minutes"


class NotApplicable(Exception):  # noqa: N818 - an answer, not a failure
    """Raised by a before facet: the question does not arise for this run; the message says why."""


class FactUnavailable(NotApplicable):
    """Raised by a plan: a fact could not be had (for example torch is not installed); the message says why.

    Args:
        message: Why.
        hint: What to type or change next, where the run itself is the reason.
        slug: The rule that tells it, where one does; the others need not.
    """

    def __init__(self, message: str, *, hint: str | None = None, slug: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.slug = slug

    @classmethod
    def because(cls, error: SnellenError) -> FactUnavailable:
        """The same, said by an error with a message for people."""
        return cls(error.message, hint=error.hint, slug=error.slug)


class Plan(Protocol):
    """What is known of a run before it starts."""

    @property
    def path(self) -> Path | None:
        """The run file, or `None` for a run made in Python."""
        ...

    @property
    def root(self) -> Path:
        """The folder that relative paths start from."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """The run file as plain nested data, before validation; empty when it could not be parsed."""
        ...

    def line_of(self, key: str) -> int | None:
        """The line of the run file on which a key path such as `optim.lr` stands."""
        ...

    def fact(self, name: str) -> Any:
        """The fact of that name, computed once.

        Raises:
            FactUnavailable: It could not be had; the check becomes not-applicable with this reason.
        """
        ...

    def notify(self, what: str, done: int = 0, total: int = 0) -> None:
        """Tell whoever waits how far a long fact is; cheap enough to be called for every file.

        Args:
            what: What is going on, such as `opening images`.
            done: How many are done.
            total: Of how many; 0 when nobody knows.
        """
        ...


def setting_place(plan: Plan, key: str) -> Location:
    """Where a finding about a setting belongs: its line in the run file, or the bare data folder that was given.

    Args:
        plan: Of a run, or of a bare data folder.
        key: Path of the setting, such as `data.train`.
    """
    if plan.path is not None or "task" in plan.settings:
        return Location(str(plan.path or "the settings"), plan.line_of(key), key=key)
    data: Any = plan.settings.get("data") or {}
    return Location(str(data.get(key.removeprefix("data."), plan.root)))
