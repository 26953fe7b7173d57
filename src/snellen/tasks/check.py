"""Checking a run file of any task, or a bare data folder: the task's facts and the linter meet the checks here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from snellen.check import CheckSettings, check, plan_of, plan_of_folder
from snellen.check.alive import problems_of
from snellen.check.facts.machine import as_machine
from snellen.check.plan import Notify, Provider, RunPlan
from snellen.check.run import GENERAL_FACTS, NO_RUN
from snellen.config.load import load, read_task
from snellen.config.machines import MACHINES
from snellen.config.resolve import resolve
from snellen.core.check_report import CheckReport
from snellen.core.finding import Finding
from snellen.core.plan import Cost, FactUnavailable, Plan
from snellen.data.layouts import reading_once, splits_of
from snellen.errors import SnellenError, UsageError
from snellen.tasks.base import Task
from snellen.tasks.catalogue import get
from snellen.tasks.importing import has_network, importing
from snellen.tasks.need_facts import need_facts
from snellen.tasks.overview import forecast, looked_at
from snellen.tasks.target import runs_beside

__all__ = ["Examined", "FolderOptions", "check_run", "check_target"]


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """How a bare data folder is read.

    Args:
        layout: Name of its layout; recognised without it.
        classes: A file that names the classes, one a line.
    """

    layout: str | None = None
    classes: Path | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """A check and what it was made on.

    Args:
        report: Every check with its state.
        plan: With the facts that the checks asked for.
        run_file: What was checked; `None` for a data folder.
    """

    report: CheckReport
    plan: RunPlan
    run_file: Path | None


def check_run(path: str | Path, *, overrides: Sequence[str] = (), settings: CheckSettings | None = None) -> CheckReport:
    """Check a run file, or a data folder, before it costs any time.

    Args:
        path: The run file, the folder of a run, or a folder of data.
        overrides: Settings that win over a run file, such as `"optim.epochs=1"`.
        settings: Which checks, and how far they may go.

    Returns:
        Every check with its state, and what `auto` became where the settings are sound.

    Raises:
        ConfigError: The file cannot be read as a run file at all.
        UsageError: Its task, or a selected rule, does not exist.
    """
    return check_target(Path(path), overrides=overrides, settings=settings).report


@reading_once()
def check_target(
    target: Path,
    *,
    overrides: Sequence[str] = (),
    machine: str | None = None,
    options: FolderOptions | None = None,
    settings: CheckSettings | None = None,
    notify: Notify | None = None,
) -> Examined:
    """As `check_run`, with the plan, for those who show more of it.

    Args:
        target: The run file, the folder of a run, or a folder of data.
        overrides: Settings that win over a run file.
        machine: Judge for this machine, whatever the run file says.
        options: How a folder of data is read.
        settings: Which checks, and how far they may go.
        notify: Is told how far long facts are.

    Raises:
        ConfigError: The file cannot be read as a run file at all.
        UsageError: The task, the machine, the layout or a selected rule does not exist.
    """
    settings = settings or CheckSettings()
    for problem in problems_of([target]).values():
        raise UsageError(f"{target} cannot be looked at: {problem}")
    if not target.exists():
        raise UsageError(f"cannot read {target}: there is no such file or folder", hint=runs_beside(target))
    run_file = target / "run.yaml" if target.is_dir() else target
    if target.is_dir() and not run_file.is_file():
        if overrides:
            raise UsageError(
                f"{target} is a data folder, which has no setting {overrides[0]!r}", hint="give a run file"
            )
        return _check_folder(target, options or FolderOptions(), settings, notify)
    if options not in (None, FolderOptions()):
        raise UsageError("--layout and --classes are for data folders", hint=f"say it in {run_file}: data.layout, ...")
    if machine is not None:
        overrides = (*overrides, f"machine={_known(machine)}")
    return _check_run_file(run_file, overrides, settings, notify)


def _known(machine: str) -> str:
    if machine not in MACHINES and machine != "auto":
        nearest = difflib.get_close_matches(machine, MACHINES, n=1)
        raise UsageError(
            f"--machine {machine}, expected one of {', '.join(MACHINES)}",
            hint=f"did you mean {nearest[0]}?" if nearest else None,
        )
    return machine


def _check_run_file(path: Path, overrides: Sequence[str], settings: CheckSettings, notify: Notify | None) -> Examined:
    task = get(read_task(path))
    loaded = load(path, task.schema(), overrides=overrides)
    plan = plan_of(loaded, task.schema(), facts={**_facts(task), **need_facts(task, loaded)}, notify=notify)
    # The audit of the data runs in processes of its own; this one imports the libraries of networks meanwhile.
    thorough = not settings.select and settings.max_cost is not Cost.INSTANT
    with importing("timm", wanted=thorough and has_network(loaded.config)):
        report = check(plan, settings=settings)
    report = replace(report, looked_at=looked_at(plan), forecast=forecast(plan))
    if loaded.config is None:
        return Examined(report, plan, path)
    try:
        here = as_machine(plan.fact("machine"))
        resolved = resolve(loaded.config, here, root=loaded.root, resolvers=task.resolvers())
    except (SnellenError, ImportError):
        # Without torch, or with a backbone that does not exist, nothing is settled; the checks say so.
        return Examined(report, plan, path)
    settled = tuple((one.key, one.value, one.why) for one in resolved.table)
    return Examined(replace(report, settled=settled), plan, path)


def _check_folder(folder: Path, options: FolderOptions, settings: CheckSettings, notify: Notify | None) -> Examined:
    splits = splits_of(folder.absolute())
    data: dict[str, Any] = {name: str(path) for name, path in splits.items()}
    if options.layout is not None:
        data["layout"] = options.layout
    if options.classes is not None:
        data["classes"] = str(options.classes.absolute())
    plan = plan_of_folder(folder.absolute(), {"data": data}, notify=notify)
    report = check(plan, settings=replace(settings, without_code=NO_RUN))
    # "No findings" alone would read as if its images were sound.
    subject = f"{folder} (its images were not looked at)" if plan.refused("audit") else str(folder)
    report = replace(report, subject=subject, looked_at=looked_at(plan), forecast=forecast(plan))
    return Examined(report, plan, None)


def _facts(task: Task) -> Mapping[str, Provider]:
    """The task's providers, imported only when one of them is asked, since they may need torch."""

    def ask(name: str) -> Provider:
        def provide(plan: Plan) -> Any:
            own = task.facts()
            general = GENERAL_FACTS.get(name)
            if name not in own and general is None:
                raise FactUnavailable(f"the task {task.name} tells nothing of its {name.replace('_', ' ')}")
            return own[name](plan) if name in own or general is None else general(plan)

        return provide

    own = {
        name: ask(name)
        for name in ("contracts", "unfold", "weights_fit", "networks", "cache", "spike_streams", "label_troubles")
    }
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
