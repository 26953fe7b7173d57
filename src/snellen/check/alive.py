"""Whether paths answer at all: a mount whose server is gone lets every call on it wait for ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["SECONDS", "problems_of"]

SECONDS: Final = 10.0
"""How long a path may take to say whether it exists: a disk that spins up takes 5 to 8, a network that works less."""


def problems_of(paths: Iterable[Path], *, seconds: float = SECONDS) -> dict[Path, str]:
    """Paths that cannot be looked at, and why; all are asked at the same time.

    Args:
        paths: Files and folders; those that are not there have no problem.
        seconds: After which one that does not answer is given up.

    Example:
        >>> problems_of([Path(), Path("not there")])
        {}
    """
    wanted = list(dict.fromkeys(paths))
    found: dict[Path, str] = {}
    asked = [(path, _ask(path, found)) for path in wanted]
    deadline = time.monotonic() + seconds
    for path, thread in asked:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            found[path] = f"it does not answer within {seconds:.0f} s, as a mount whose server is gone"
    return {path: found[path] for path in wanted if path in found}


def _ask(path: Path, found: dict[Path, str]) -> threading.Thread:
    def work() -> None:
        try:
            if path.is_dir():
                with os.scandir(path) as entries:
                    next(entries, None)
            else:
                path.stat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as error:
            found[path] = (getattr(error, "strerror", None) or str(error)).lower()

    # A daemon: one that waits for a dead mount must not keep the process from ending.
    thread = threading.Thread(target=work, name=f"look at {path}", daemon=True)
    thread.start()
    return thread
