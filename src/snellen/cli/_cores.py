"""Manners of a process that computes on cores which others use as well."""

from __future__ import annotations

import os

__all__ = ["share_cores"]


def share_cores() -> None:
    """Let idle threads of this process sleep instead of spin; call it before torch is imported.

    OpenMP's threads spin at every barrier by default. Where cores are shared, as in containers and notebooks, they
    spin away the time that the thread they wait for would need. A variable that the user has set is left alone.

    Source: https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
