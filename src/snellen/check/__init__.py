"""Rules over a run that has not started."""

from __future__ import annotations

from snellen.check.facts.modules import reload_stale_modules
from snellen.check.facts.project import find_project_root
from snellen.check.run import check, plan_of, plan_of_folder
from snellen.check.runner import CheckSettings

__all__ = ["CheckSettings", "check", "find_project_root", "plan_of", "plan_of_folder", "reload_stale_modules"]
