"""What happened out of the ordinary, for `events.jsonl` and for whoever listens."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from snellen.core.run_folder import RunFolder
from snellen.errors import RunFolderError

__all__ = ["Event", "EventLog", "Listener"]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Args:
        slug: A rule, or a plain word such as `resume`.
        message: One sentence for people.
        data: Facts for programs.
    """

    slug: str
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)


Listener: TypeAlias = Callable[[Event], None]


class EventLog:
    """Writes events to the run's folder and passes them on; a write that fails is said once and never ends the run.

    Args:
        folder: The run's folder.
        listener: Is called with each event; `None` for nobody.
        active: Whether this rank speaks.
    """

    def __init__(self, folder: Path, listener: Listener | None, *, active: bool = True) -> None:
        self._folder = RunFolder(folder)
        self._listener = listener
        self._active = active
        self._writable = True

    def __call__(self, slug: str, message: str, **data: Any) -> None:
        """Note an event."""
        if not self._active:
            return
        if self._writable:
            try:
                self._folder.event(slug, message, **data)
            except RunFolderError as error:
                self._writable = False
                with contextlib.suppress(OSError):
                    print(f"events are no longer written: {error.message}", file=sys.stderr)  # noqa: T201
        if self._listener is not None:
            self._listener(Event(slug, message, data))
