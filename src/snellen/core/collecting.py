"""Python's search for rings of objects, which costs a short process a third of what its imports take."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

__all__ = ["collect_seldom", "collected_seldom"]

_OBJECTS = 200_000
"""New objects between two searches, instead of 700: importing torch and timm makes a million that all stay."""


def collect_seldom() -> None:
    """Let this process search seldom and, at its end, not at all.

    For processes that import much and live for seconds. One that trains keeps Python's own pace: a ring of objects may
    hold memory of a GPU.
    """
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    # What is frozen is not gone through once more when the interpreter takes its modules apart.
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


@contextlib.contextmanager
def collected_seldom() -> Iterator[None]:
    """The same while the block runs, with the former pace after it.

    Example:
        >>> import gc
        >>> before = gc.get_threshold()
        >>> with collected_seldom():
        ...     gc.get_threshold()[0]
        200000
        >>> gc.get_threshold() == before
        True
    """
    before = gc.get_threshold()
    collect_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
