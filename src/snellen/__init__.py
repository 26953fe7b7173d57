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
    from snellen.explain.exceptions import explain_exception, explaining
    from snellen.explain.ipython import load as load_ipython_extension
    from snellen.explain.ipython import unload as unload_ipython_extension
    from snellen.lint import lint
    from snellen.rules.catalogue import catalogue as rules
    from snellen.tasks.check import check_run as check
    from snellen.tasks.target import open_target as load_run

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "check",
    "explain",
    "explain_exception",
    "explaining",
    "lint",
    "load_ipython_extension",
    "load_run",
    "rules",
    "unload_ipython_extension",
]

_PUBLIC = {
    "check": "snellen.tasks.check:check_run",
    "explain": "snellen.explain:explain",
    "explain_exception": "snellen.explain.exceptions:explain_exception",
    "explaining": "snellen.explain.exceptions:explaining",
    "lint": "snellen.lint:lint",
    "load_ipython_extension": "snellen.explain.ipython:load",
    "load_run": "snellen.tasks.target:open_target",
    "rules": "snellen.rules.catalogue:catalogue",
    "unload_ipython_extension": "snellen.explain.ipython:unload",
}
"""Public name to the place where it is defined."""


_FOLDERS = {"check", "explain", "lint", "rules"}
"""Public names that are folders as well."""


class _Verb(ModuleType):
    """A folder that can be called like the function it is named after: `snellen.explain(text)`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return _load(self.__name__.rpartition(".")[2])(*args, **options)


class _Package(ModuleType):
    """Makes the folders of public names callable when they are imported.

    Python puts a folder's module in the place of the function of the same name; this way `snellen.explain(text)` and
    `import snellen.explain.parse` both work, in any order.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _PUBLIC and isinstance(value, ModuleType):
            value.__class__ = _Verb
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def _load(name: str) -> Any:
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # A verb is its folder, callable; whether the folder was imported before makes no difference.
    return importlib.import_module(f"{__name__}.{name}") if name in _FOLDERS else _load(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
