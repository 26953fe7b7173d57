"""`snellen doctor`: this machine and this environment, without a run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.core.finding import CheckResult, Finding, Fix, Level, State
from snellen.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snellen.core.check_report import CheckReport
    from snellen.core.plan import Plan
    from snellen.core.rule import Rule

__all__ = ["doctor", "register"]

_FAMILY = "environment"
_ALSO = ("cache-permission", "shm-too-small", "too-many-open-files")
"""Rules of other families that judge a machine, too."""
_WITHOUT = ("stale-module",)
"""What a process that has just begun cannot suffer from."""
_PROBE = """
import json, torch
devices = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
devices += ["mps"] if torch.backends.mps.is_available() else []
ones = [torch.ones(8, 8, device=device) for device in devices]
wrong = [str(one.device) for one in ones if float((one @ one).sum()) != 512.0]
problem = f"{wrong[0]} multiplies two matrices wrongly" if wrong else None
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "devices": devices, "problem": problem,
                  "architectures": torch.cuda.get_arch_list()}))
"""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog="Example:  snellen doctor --torch")(doctor)


def doctor(
    *,
    torch: Annotated[bool, typer.Option("--torch", help="Also import torch and compute on every device.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look at this machine and this environment. Exit code 1 when a run could not start here."""
    # Not from snellen.check itself: reading run files takes pydantic, which nothing here needs.
    from snellen.check.facts.here import plan_without_run
    from snellen.check.runner import CheckSettings, run_checks

    plan = plan_without_run(_here())
    settings = CheckSettings(without_code="there is no run")
    report = run_checks(plan, _rules(), settings, subject="this machine")
    probed = _try_torch() if torch else None
    if probed is not None and probed.get("problem"):
        report = replace(report, results=(*report.results, _broken(probed["problem"])))
    if as_json:
        from snellen.cli._output import print_json

        print_json({**_facts(plan), "torch": probed, **report.to_dict()})
    else:
        _print(plan, report, probed)
    raise typer.Exit(report.exit_code)


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("the current folder does not exist any more", hint="cd into another one") from error


def _rules() -> Iterable[Rule]:
    from snellen.rules.catalogue import files, load

    family = [slug for slug, path in files().items() if path.parent.name == _FAMILY and slug not in _WITHOUT]
    return [load(slug) for slug in (*family, *_ALSO)]


def _facts(plan: Plan) -> dict[str, Any]:
    return {
        "machine": dataclasses.asdict(plan.fact("machine")),
        "environment": dataclasses.asdict(plan.fact("environment")),
        "places": [dataclasses.asdict(place) for place in plan.fact("places")],
    }


def _broken(problem: str) -> CheckResult:
    fix = Fix("Read the reason, or pipe it into `snellen explain -`.")
    finding = Finding("broken-torch", Level.ERROR, problem, fix=fix)
    return CheckResult("broken-torch", State.FAILED, "torch does not compute", (finding,), family=_FAMILY)


def _try_torch() -> dict[str, Any]:
    """Multiply two matrices on every device, in another process: a broken library may take its process with it."""
    try:
        ended = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return {"problem": "torch did not answer within three minutes"}
    lines = ended.stdout.strip().splitlines()
    if ended.returncode == 0 and lines:
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer
    reasons = ended.stderr.strip().splitlines()
    reason = reasons[-1] if reasons else f"it ended with {ended.returncode}"
    return {"problem": f"torch cannot be used: {reason}"}


def _print(plan: Plan, report: CheckReport, probed: dict[str, Any] | None) -> None:
    from rich.console import Console

    from snellen.cli._machine import rows
    from snellen.report.text import count_words, findings_text

    console = Console(soft_wrap=True, highlight=False)
    told = rows(plan.fact("machine"), plan.fact("environment"), plan.fact("places"))
    if probed is not None and probed.get("devices"):
        told.append(("torch", f"{probed['version']} computes on {', '.join(probed['devices'])}"))
    for name, value in told:
        console.print(f"{name:14} {value}", markup=False)
    console.print(f"\n{count_words(report.findings)}", markup=False)
    if report.findings:
        console.print(findings_text(report.findings), end="")
    counts = report.counts
    judged = f"{counts['failed'] + counts['warned'] + counts['passed']} checks of machine and environment"
    console.print(f"{judged}, {len(report.not_judged)} do not apply here (--json says why)", markup=False)
    for result in report.not_judged:
        if result.state is State.CRASHED:
            console.print(f"crashed: {result.slug}: {result.reason}", markup=False)
    console.print("next: snellen check RUN.yaml" if not report.findings else "next: mend these, then snellen doctor")
