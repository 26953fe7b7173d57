"""The stages of a rehearsal, in order, and what one leaves for another. Plain data: no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["STAGES", "Failure", "Outcome", "Stage"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of a run's life.

    Args:
        name: In output `rehearse-NAME`.
        title: What is done, for people.
        needs: Stages without which this one cannot be tried.
    """

    name: str
    title: str
    needs: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """Its identity in a report."""
        return f"rehearse-{self.name}"


STAGES: Final[Mapping[str, Stage]] = MappingProxyType(
    {
        stage.name: stage
        for stage in (
            Stage("settings", "read and resolve the run file"),
            Stage("code", "compile the run's own code and find what it imports", ("settings",)),
            Stage("model", "build the model", ("settings",)),
            Stage("train-data", "load samples to train on", ("model",)),
            Stage("validation-data", "load the largest and the oddest samples of validation", ("model",)),
            Stage("validate", "validate on the worst batch", ("validation-data",)),
            Stage("train", "train two steps and save", ("train-data",)),
            Stage("resume", "go on after kill -9, to the end", ("train",)),
            Stage("predict", "predict a few inputs", ("model",)),
            Stage("export", "export the weights and the graph", ("model",)),
        )
    }
)
"""By name, in the order in which they run."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One error of a stage.

    Args:
        message: One line.
        traceback: The text that a rule may know; `""` for one of our own messages.
        hint: What to do, if the error says so.
        slug: The rule that the error itself names.
        level: `error`, `warning` or `note`.
    """

    message: str
    traceback: str = ""
    hint: str = ""
    slug: str = ""
    level: str = "error"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended.

    Args:
        stage: Its name.
        note: What was done.
        failures: What went wrong.
        skipped: Why it was not tried, `""` when it was.
        absent: Why the question does not arise, `""` when it does.
        finished: Whether it came to its end; one that was too slow did not.
        seconds: Time taken.
    """

    stage: str
    note: str = ""
    failures: Sequence[Failure] = ()
    skipped: str = ""
    absent: str = ""
    finished: bool = True
    seconds: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether stages that need this one can be tried."""
        return self.finished and not self.skipped and not any(failure.level == "error" for failure in self.failures)
