"""Rules over a run that has not started."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snellen.check.facts.modules import reload_stale_modules
    from snellen.check.facts.project import find_project_root
    from snellen.check.run import check, plan_of, plan_of_folder
    from snellen.check.runner import CheckSettings

__all__ = ["CheckSettings", "check", "find_project_root", "plan_of", "plan_of_folder", "reload_stale_modules"]

_PLACES = {
    "CheckSettings": "runner",
    "check": "run",
    "find_project_root": "facts.project",
    "plan_of": "run",
    "plan_of_folder": "run",
    "reload_stale_modules": "facts.modules",
}


def __getattr__(name: str) -> Any:
    # Reading run files takes pydantic, half a second that `doctor` has no use for.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
