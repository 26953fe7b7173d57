"""What a person sees while a run works: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["FillingProgress", "TrainingProgress"]

_SECONDS_BETWEEN_LINES = 30.0
_SECONDS_BETWEEN_DRAWINGS = 0.5
"""Drawing costs milliseconds, which short steps would feel."""


class TrainingProgress:
    """Shows epoch, step, loss, headline and where the time goes.

    Args:
        steps: Optimiser steps of the whole run.
        epochs: Epochs of the whole run.
        first_step: Steps done before.
        console: Where to; standard error by default.
        silent: Show nothing, as on all ranks but the first.
    """

    def __init__(
        self, *, steps: int, epochs: int, first_step: int = 0, console: Console | None = None, silent: bool = False
    ) -> None:
        self._console = console or Console(stderr=True, quiet=silent)
        self._steps, self._epochs, self._first_step = steps, epochs, first_step
        self._headline = ""
        self._shown_at = time.monotonic()
        self._bar: Progress | None = None
        if self._console.is_terminal and not silent:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=self._steps, completed=self._first_step)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def due(self) -> bool:
        """Whether it is time to show something; asking costs nothing."""
        pause = _SECONDS_BETWEEN_LINES if self._bar is None else _SECONDS_BETWEEN_DRAWINGS
        return time.monotonic() - self._shown_at >= pause

    def show(self, *, epoch: int, step: int, loss: float, seconds: Mapping[str, float]) -> None:
        """Show the state after a step.

        Args:
            epoch: From 0.
            step: Optimiser steps done.
            loss: Of this step.
            seconds: Time by phase, in any unit of equal length.
        """
        self._shown_at = time.monotonic()
        whole = sum(seconds.values()) or 1.0
        shares = " ".join(f"{name} {value / whole:.0%}" for name, value in seconds.items())
        text = f"epoch {epoch + 1}/{self._epochs} loss {loss:.4g}{self._headline} [{shares}]"
        if self._bar is None:
            self.say(f"step {step}/{self._steps} {text}")
            return
        with contextlib.suppress(OSError, ValueError):
            self._bar.update(self._bar.task_ids[0], completed=step, description=escape(text), refresh=True)

    def headline(self, name: str, value: float, *, best: bool) -> None:
        """Show the headline metric from here on."""
        self._headline = f" {name} {value:.4g}{' (best)' if best else ''}"
        self.say(f"{name} {value:.4g}{', the best so far' if best else ''}")

    def say(self, sentence: str) -> None:
        """Print one line above the bar."""
        # A closed terminal or a broken pipe is no reason to lose a run.
        with contextlib.suppress(OSError, ValueError):
            self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)


class FillingProgress:
    """Shows how far the cache is filled: a bar on a terminal, a plain line now and then elsewhere.

    Args:
        total: Items to read.
        silent: Show nothing.
    """

    def __init__(self, total: int, *, silent: bool = False) -> None:
        self._console = Console(stderr=True, quiet=silent)
        self._total, self._done, self._said = total, 0, time.monotonic()
        columns = (TextColumn("fill the cache"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console) if self._console.is_terminal and not silent else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, items: int) -> None:
        """Count items that were read."""
        self._done += items
        with contextlib.suppress(OSError, ValueError):
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=self._done)
            elif time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
                self._said = time.monotonic()
                self._console.print(f"fill the cache: {self._done} of {self._total} items", highlight=False)
