"""Progress bars on the error stream; silent where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["note", "progress_bar", "track"]

T = TypeVar("T")


def note(text: str) -> None:
    """One line on the error stream, for what a person should know while work goes on."""
    Console(file=sys.stderr, soft_wrap=True, highlight=False).print(text, markup=False)


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
