"""Progress bars on the error stream; silent where nobody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from snellen.report.text import shown

__all__ = ["Telling", "Throughput", "note", "progress_bar", "track"]

T = TypeVar("T")


def note(text: str) -> None:
    """One line on the error stream, for what a person should know while work goes on."""
    Console(file=sys.stderr, soft_wrap=True, highlight=False).print(shown(text), markup=False)


def progress_bar() -> Progress:
    """A bar with count, elapsed and remaining time; draws nothing when stderr is no terminal."""
    console = Console(file=sys.stderr)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def track(items: Sequence[T], *, description: str) -> Iterator[T]:
    """Go through items under a progress bar.

    Example:
        >>> list(track([1, 2], description="count"))
        [1, 2]
    """
    with progress_bar() as progress:
        yield from progress.track(items, description=description)


class Telling:
    """Says on the error stream how far a long look is: a bar in a terminal, else a plain line every few seconds.

    Args:
        silent: Say nothing at all.

    Example:
        >>> with Telling(silent=True) as telling:
        ...     telling("opening images", 3, 10)
    """

    _EVERY_SECONDS: Final = 5.0

    def __init__(self, *, silent: bool = False) -> None:
        self._bar = progress_bar() if not silent else None
        self._lines = not silent and self._bar is not None and self._bar.disable
        self._task = self._bar.add_task("", total=None) if self._bar is not None else None
        self._due = time.monotonic() + self._EVERY_SECONDS
        self._what = ""

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None:
        """Say what goes on, how many are done, and of how many (0: nobody knows)."""
        if self._bar is not None and self._task is not None and not self._lines:
            if what != self._what:
                self._bar.reset(self._task, description=what)
                self._what = what
            self._bar.update(self._task, completed=done, total=total or None)
        elif self._lines and time.monotonic() >= self._due:
            self._due = time.monotonic() + self._EVERY_SECONDS
            of = f" of {total}" if total else ""
            count = f": {done}{of}" if done or total else ""
            print(f"{what}{count}", file=sys.stderr, flush=True)  # noqa: T201


class Throughput:
    """Says on the error stream how fast a stream of images goes: a bar in a terminal, else a line every few seconds.

    Args:
        what: What is done.
        total: How many images there are, `None` when nobody knows.
        silent: Say nothing at all.

    Example:
        >>> with Throughput("embedding", total=10, silent=True) as bar:
        ...     bar(3, problems=1)
    """

    _EVERY_SECONDS: Final = 10.0

    def __init__(self, what: str, *, total: int | None, silent: bool = False) -> None:
        self._what, self._total, self._silent = what, total, silent
        self._bar = progress_bar()
        self._task = self._bar.add_task(what, total=total)
        self._started = self._said = time.monotonic()

    def __enter__(self) -> Self:
        if not self._silent:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, *, problems: int = 0, skipped: int = 0) -> None:
        """Say how many are done, how many of them could not be read, and how many needed no work."""
        if self._silent:
            return
        now = time.monotonic()
        speed = (done - skipped) / max(1e-9, now - self._started)
        tail = f", {problems} not read" if problems else ""
        if not self._bar.disable:
            self._bar.update(self._task, completed=done, description=f"{self._what}, {speed:.0f} images/s{tail}")
        elif now - self._said > self._EVERY_SECONDS:
            self._said = now
            of = f" of {self._total}" if self._total is not None else ""
            left = f", {(self._total - done) / speed:.0f} s left" if self._total is not None and speed > 0 else ""
            print(f"{self._what}: {done}{of} images, {speed:.1f} images/s{left}{tail}", file=sys.stderr, flush=True)  # noqa: T201
