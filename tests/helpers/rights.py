"""What a user without rights sees, also where the tests run as root, to whom no file is forbidden."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["as_nobody"]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """During the block this process is nobody; what it needs has to be imported before, and may not lie in a home."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
