"""Importing what networks need while something else is waited for: torch and timm take seconds."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["has_network", "importing"]


def has_network(config: Any) -> bool:
    """Whether a run has a network, as far as its settings name one.

    Args:
        config: A run model, `None` when the run file has problems.
    """
    model = getattr(config, "model", None)
    if model is None or getattr(model, "detector", None) == "keypoint":
        return False
    return any(getattr(model, name, None) for name in ("name", "backbone", "network", "preset"))


@contextlib.contextmanager
def importing(module: str, *, wanted: bool) -> Iterator[None]:
    """Import a module in a thread of its own while the block runs; whoever needs it meanwhile waits for it.

    Args:
        module: Its name; that it is missing is said by those who need it.
        wanted: `False` does nothing.
    """
    if not wanted:
        yield
        return

    def load() -> None:
        # Two threads that meet in a circle of imports: one of them gives up, and whoever needs the module imports it.
        with contextlib.suppress(ImportError, RuntimeError):
            importlib.import_module(module)

    thread = threading.Thread(target=load, name=f"import {module}")
    thread.start()
    try:
        yield
    finally:
        thread.join()
