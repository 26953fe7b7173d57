"""From a run file to a report: the plan with every general fact, and all rules over it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from snellen.check.facts.cache import provide_cache
from snellen.check.facts.data import provide_audit, provide_folders, provide_twins
from snellen.check.facts.here import MACHINE_FACTS
from snellen.check.facts.model import provide_batches, provide_flow, provide_last_batch, provide_networks
from snellen.check.facts.names import provide_names
from snellen.check.facts.paths import provide_paths
from snellen.check.facts.pixels import provide_stated_pixels
from snellen.check.facts.tracker import provide_tracker
from snellen.check.facts.weights import provide_architectures, provide_weights, provide_weights_fit
from snellen.check.plan import Notify, Provider, RunPlan
from snellen.check.runner import CheckSettings, run_checks
from snellen.config.describe import SchemaView
from snellen.config.load import Loaded
from snellen.config.schema import RunConfig
from snellen.core.check_report import CheckReport
from snellen.core.facts.model import BatchFacts
from snellen.core.plan import Plan
from snellen.core.rule import Rule
from snellen.rules.catalogue import catalogue

__all__ = ["GENERAL_FACTS", "PATIENCE", "check", "plan_of", "plan_of_folder"]

GENERAL_FACTS: Mapping[str, Provider] = {
    **MACHINE_FACTS,
    "paths": provide_paths,
    "folders": provide_folders,
    "audit": provide_audit,
    "twins": provide_twins,
    "cache": provide_cache,
    "names": provide_names,
    "weights": provide_weights,
    "architectures": provide_architectures,
    "weights_fit": provide_weights_fit,
    "stated_pixels": provide_stated_pixels,
    "tracker": provide_tracker,
    "networks": provide_networks,
    "flow": provide_flow,
    "batches": provide_batches,
    "last_batch": provide_last_batch,
}
"""Facts that need no knowledge of the task."""


NO_RUN = "it needs a run, and this is a data folder: give a run file"

PATIENCE: Mapping[str, float] = dict.fromkeys(
    (
        "paths",
        "folders",
        "names",
        "audit",
        "twins",
        "weights",
        "project",
        "source_findings",
        "code",
    ),
    60.0,
)
"""Facts that read what may lie on a mount, and how long one may be silent; the slowest single file read here, one of
300 megapixels on a busy disk, takes about 10 s."""

DATA_FACTS = ("paths", "folders", "names", "audit", "twins")
"""General facts that a bare data folder has; the others are about a run."""


def plan_of(
    loaded: Loaded[Any],
    schema: type[RunConfig],
    *,
    facts: Mapping[str, Provider] | None = None,
    notify: Notify | None = None,
) -> RunPlan:
    """A plan of a run that was read.

    Args:
        loaded: The run file as read, with or without problems.
        schema: The task's run model.
        facts: What only the task or the caller can tell, by the names of `snellen.core.facts`; they win over the
            general ones.
        notify: Is told how far long facts are.
    """
    keys = SchemaView(schema).path_keys()

    def config_findings(_plan: Plan) -> Any:
        return loaded.problems

    def path_keys(_plan: Plan) -> tuple[str, ...]:
        return keys

    def batches(plan: Plan) -> BatchFacts:
        return provide_batches(plan, type(schema.model_fields["optim"].default))

    own = {"config_findings": config_findings, "path_keys": path_keys, "batches": batches}
    return RunPlan(
        root=loaded.root,
        path=loaded.path,
        settings=loaded.data,
        lines={key: place.line for key, place in loaded.positions.items()},
        providers={**GENERAL_FACTS, **own, **(facts or {})},
        notify=notify,
        patience=PATIENCE,
    )


def plan_of_folder(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    facts: Mapping[str, Provider] | None = None,
    notify: Notify | None = None,
) -> RunPlan:
    """A plan of a data folder without a run: what only a run has is refused with that reason.

    Args:
        folder: The data.
        settings: The part of a run file that follows from it: `data.train` and so on.
        facts: What only the caller can tell.
        notify: Is told how far long facts are.
    """
    keys = tuple(f"data.{name}" for name in settings.get("data", {}) if name != "layout")
    own: Mapping[str, Provider] = {
        **{name: GENERAL_FACTS[name] for name in DATA_FACTS if name in GENERAL_FACTS},
        "path_keys": lambda _plan: keys,
    }
    return RunPlan(
        root=folder,
        settings=settings,
        providers={**own, **(facts or {})},
        unknown=NO_RUN,
        notify=notify,
        patience=PATIENCE,
    )


def check(plan: Plan, *, rules: Iterable[Rule] | None = None, settings: CheckSettings | None = None) -> CheckReport:
    """Check a run before it starts.

    Args:
        plan: From `plan_of`, or any other.
        rules: All that exist without it.
        settings: Which checks, and how far they may go.

    Returns:
        Every check with its state; nothing that a check does is fatal.

    Raises:
        UsageError: A selected or ignored rule does not exist.
    """
    return run_checks(plan, catalogue().values() if rules is None else rules, settings)
