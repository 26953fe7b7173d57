"""How long a run takes on the machine that it is meant for, and how long it may."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DurationFacts"]


@dataclass(frozen=True, slots=True)
class DurationFacts:
    """Time of a run: least and most.

    Args:
        machine: Where.
        step: Seconds of one optimiser step, with the wait for its batch.
        steps: Optimiser steps of the whole run.
        epochs: Passes over the data.
        validation: Seconds of one evaluation.
        hours: The whole run, evaluations included.
        bound: What takes most of a step: `arithmetic`, `memory`, `launches` or `loading`.
        session_hours: After how many hours a session is ended, `None` where nobody does.
        weekly_hours: Hours that a user gets in a week, `None` where nobody counts.
        assumptions: What the numbers rest on.
        unknown: What is not part of them, because it could not be had.
    """

    machine: str
    step: tuple[float, float]
    steps: int
    epochs: int
    validation: tuple[float, float]
    hours: tuple[float, float]
    bound: str
    session_hours: float | None = None
    weekly_hours: float | None = None
    assumptions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def sentence(self) -> str:
        """For people: the hours, and what they rest on.

        Example:
            >>> DurationFacts("t4", (0.1, 0.2), 36000, 10, (0, 0), (1.0, 2.0), "memory").sentence()
            'time: 1.0 to 2.0 hours on t4 for 36000 steps of 0.10 to 0.20 s, most of a step is memory'
            >>> DurationFacts("t4", (0.1, 0.2), 900, 1, (0, 0), (0.025, 0.05), "loading").sentence()
            'time: 1.5 to 3.0 minutes on t4 for 900 steps of 0.10 to 0.20 s, most of a step is loading'
        """
        low, high = self.step
        step = f"{self.steps} steps of {low:.2f} to {high:.2f} s, most of a step is {self.bound}"
        few = self.hours[1] < 1
        least, most = (60 * hours if few else hours for hours in self.hours)
        return f"time: {least:.1f} to {most:.1f} {'minutes' if few else 'hours'} on {self.machine} for {step}"
