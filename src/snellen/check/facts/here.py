"""The facts about machine, environment and project: all that is known without data and without a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from snellen.check.facts.code import provide_code, provide_repository
from snellen.check.facts.hub import provide_hub
from snellen.check.facts.machine import provide_machine, provide_precision
from snellen.check.facts.modules import provide_stale_modules
from snellen.check.facts.places import provide_places
from snellen.check.facts.project import provide_project
from snellen.check.facts.software import provide_environment
from snellen.check.plan import Provider, RunPlan

__all__ = ["MACHINE_FACTS", "plan_without_run"]

MACHINE_FACTS: Mapping[str, Provider] = {
    "machine": provide_machine,
    "environment": provide_environment,
    "places": provide_places,
    "precision": provide_precision,
    "project": provide_project,
    "stale_modules": provide_stale_modules,
    "code": provide_code,
    "repository": provide_repository,
    "hub": provide_hub,
}
"""Provider of each fact."""


def plan_without_run(root: Path) -> RunPlan:
    """A plan of nothing but this machine, for rules about it.

    Args:
        root: The folder that a run would be started in.

    Example:
        >>> plan_without_run(Path()).fact("machine").here
        True
    """
    return RunPlan(root=root, providers=MACHINE_FACTS, patience={"project": 20.0})
