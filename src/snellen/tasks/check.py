"""Checking a run file of any task: the task's facts and the linter meet the checks here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from snellen.check import CheckSettings, check, plan_of
from snellen.check.facts.machine import as_machine
from snellen.check.plan import Provider
from snellen.config.load import load, read_task
from snellen.config.resolve import resolve
from snellen.core.check_report import CheckReport
from snellen.core.finding import Finding
from snellen.core.plan import FactUnavailable, Plan
from snellen.errors import SnellenError
from snellen.tasks.base import Task
from snellen.tasks.catalogue import get

__all__ = ["check_run"]


def check_run(path: str | Path, *, overrides: Sequence[str] = (), settings: CheckSettings | None = None) -> CheckReport:
    """Check a run file before it costs any time.

    Args:
        path: The run file.
        overrides: Settings that win over it, such as `"optim.epochs=1"`.
        settings: Which checks, and how far they may go.

    Returns:
        Every check with its state, and what `auto` became where the settings are sound.

    Raises:
        ConfigError: The file cannot be read as a run file at all.
        UsageError: Its task, or a selected rule, does not exist.
    """
    task = get(read_task(path))
    loaded = load(path, task.schema(), overrides=overrides)
    plan = plan_of(loaded, task.schema(), facts=_facts(task))
    report = check(plan, settings=settings)
    if loaded.config is None:
        return report
    try:
        here = as_machine(plan.fact("machine"))
        resolved = resolve(loaded.config, here, root=loaded.root, resolvers=task.resolvers())
    except (SnellenError, ImportError):
        # Without torch, or with a backbone that does not exist, nothing is settled; the checks say so.
        return report
    return replace(report, settled=tuple((one.key, one.value, one.why) for one in resolved.table))


def _facts(task: Task) -> Mapping[str, Provider]:
    """The task's providers, imported only when one of them is asked, since they may need torch."""

    def ask(name: str) -> Provider:
        def provide(plan: Plan) -> Any:
            return task.facts()[name](plan)

        return provide

    own = {name: ask(name) for name in ("contracts", "unfold", "weights_fit", "unpaired")}
    return {**own, "source_findings": _source_findings}


def _source_findings(plan: Plan) -> Sequence[Finding]:
    from snellen.lint import inspect  # noqa: PLC0415 - the linter only when the run names source

    code = plan.settings.get("code")
    if not code:
        raise FactUnavailable("the run names no `code` to look into")
    if not isinstance(code, list):
        raise FactUnavailable("`code` is no list of paths")
    places = [plan.root / item for item in code if isinstance(item, str)]
    there = [place for place in places if place.exists()]
    return inspect(there) if there else []
