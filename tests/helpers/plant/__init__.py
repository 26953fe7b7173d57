"""Plant faults in copies of real data folders: the files really change, and the planter says which.

    for slug, planter in planters():
        copy = shutil.copytree(real, scratch)
        touched = planter(copy, random.Random(seed))   # raises CannotPlant where the layout has no such thing

One module a family of faults. A fault may have several planters, one for each layout or variant of it; each has a name
of its own, that of its function.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

__all__ = ["CannotPlant", "Planter", "planters", "plants"]

Planter: TypeAlias = Callable[[Path, random.Random], Sequence[Path]]
"""Takes a copy of a data folder, changes it, and returns the paths it touched."""

_PLANTERS: list[tuple[str, Planter]] = []


class CannotPlant(Exception):  # noqa: N818 - an answer, not a failure
    """The folder has nothing in which this fault could be planted; the message says what is missing."""


def plants(slug: str) -> Callable[[Planter], Planter]:
    """Register a planter of the fault that a rule must then find."""

    def register(planter: Planter) -> Planter:
        _PLANTERS.append((slug, planter))
        return planter

    return register


def planters() -> tuple[tuple[str, Planter], ...]:
    """Slug and planter of all faults, by slug and name."""
    return tuple(sorted(_PLANTERS, key=lambda pair: (pair[0], pair[1].__name__)))


for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"plant.{_module.name}")
