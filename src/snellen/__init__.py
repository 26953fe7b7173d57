"""An eye chart for vision models: runs checked before they cost GPU time, guarded, and explained if they still fail.

    import snellen

    for diagnosis in snellen.explain("train.log"):
        print(diagnosis.slug, diagnosis.fix.text)

Importing it is light: names are loaded when they are first used, torch only by what trains.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.explain import explain
    from snellen.lint import lint
    from snellen.rules.catalogue import catalogue as rules

__version__ = "0.1.0"

__all__ = ["__version__", "explain", "lint", "rules"]

_PUBLIC = {
    "explain": "snellen.explain:explain",
    "lint": "snellen.lint:lint",
    "rules": "snellen.rules.catalogue:catalogue",
}
"""Public name to the place where it is defined."""


class _Package(ModuleType):
    """Keeps `snellen.explain` the function that it is, also after the folder of that name has been imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
