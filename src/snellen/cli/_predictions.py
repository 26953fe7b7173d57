"""How a stream of predictions is told, and with which exit code it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from snellen.cli._output import print_json, say

if TYPE_CHECKING:
    from snellen.tasks.predict import Outcome

__all__ = ["print_outcome"]

_SHOWN = 10
_NEXT = "next: "


def print_outcome(outcome: Outcome, files: Sequence[Path], notes: Sequence[str], *, out: Path, as_json: bool) -> None:
    """Print what it came to and what to look at next.

    Raises:
        Exit: With code 1, when some inputs have no prediction.
    """
    if as_json:
        print_json({**outcome.to_dict(), "files": [str(path) for path in files], "notes": list(notes)})
    else:
        lines = outcome.lines(limit=_SHOWN)
        for line in lines:
            if not line.startswith(_NEXT):
                say(line)
        for note in notes:
            say(f"note: {note}")
        for path in files:
            say(f"wrote {path}")
        pictures = out / "overlays"
        # What a task itself knows to do next comes before a look at what was written.
        looks = f"{_NEXT}look into {pictures if pictures.is_dir() else files[-1]}"
        say(next((line for line in lines if line.startswith(_NEXT)), looks))
    if outcome.failed:
        raise typer.Exit(1)
