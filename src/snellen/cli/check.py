"""`snellen check`: find what would go wrong before it costs time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.core.plan import Cost, FactUnavailable

if TYPE_CHECKING:
    from snellen.check.fix import Mended
    from snellen.core.check_report import CheckReport
    from snellen.tasks.check import Examined

__all__ = ["check", "register"]

_ROUNDS = 5
_EXAMPLES = """\b
Examples:
  snellen check run.yaml                     everything that can be known before the run
  snellen check run.yaml --machine kaggle-t4 judged for another machine
  snellen check run.yaml --rehearse          and two steps, validation, kill -9, resume, prediction, export, shrunk
  snellen check data/train                   a data folder, without a run
  snellen check data --html audit.html       as a page, with pictures of the worst examples
  snellen check run.yaml --select data --ignore 'near-*'
  snellen check run.yaml --write-baseline .snellen-check.json   what is there now is known
  snellen check run.yaml --baseline .snellen-check.json         only what is new

\b
Exit code 0: no finding of level error; 1: there are some; 2: the target cannot be judged.
A line of the run file that says # snellen: ignore[slug] mutes that rule."""


_Target = Annotated[Path, typer.Argument(metavar="TARGET", help="A run file, or a folder of data.")]
_Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that win over the run file.")
]
_Rehearse = Annotated[
    bool, typer.Option("--rehearse", help="Also go through the whole life of the run, shrunk, within a minute.")
]
_Fix = Annotated[bool, typer.Option("--fix", help="Apply the fixes that are safe, then check again.")]
_Machine = Annotated[str | None, typer.Option(metavar="NAME", help="Judge for this machine, such as kaggle-t4.")]
_Layout = Annotated[str | None, typer.Option(metavar="NAME", help="Layout of a data folder.")]
_Classes = Annotated[Path | None, typer.Option(metavar="FILE", help="Names of a data folder's classes, one a line.")]
_Select = Annotated[
    list[str] | None, typer.Option(metavar="RULE", help="Only this rule, family or pattern; repeatable.")
]
_Ignore = Annotated[
    list[str] | None, typer.Option(metavar="RULE", help="Mute this rule, family or pattern; repeatable.")
]
_MaxCost = Annotated[
    Cost, typer.Option(help="How long a check may take: settings only, files and imports, or whole steps.")
]
_Baseline = Annotated[Path | None, typer.Option(metavar="FILE", help="Known findings: only new ones count.")]
_WriteBaseline = Annotated[
    Path | None, typer.Option("--write-baseline", metavar="FILE", help="Write what is found as known.")
]
_Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the report as a page.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also name the checks that passed.")]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog=_EXAMPLES)(check)


def check(  # noqa: PLR0913 - one parameter an option
    target: _Target,
    overrides: _Overrides = None,
    *,
    rehearse: _Rehearse = False,
    fix: _Fix = False,
    machine: _Machine = None,
    layout: _Layout = None,
    classes: _Classes = None,
    select: _Select = None,
    ignore: _Ignore = None,
    max_cost: _MaxCost = Cost.SECONDS,
    baseline: _Baseline = None,
    write_baseline: _WriteBaseline = None,
    html: _Html = None,
    as_json: _AsJson = False,
    verbose: _Verbose = False,
) -> None:
    """Find what would go wrong in a run, or what is wrong with a folder of data, before it costs any time.

    Exit code 1 when something would, 2 when the target cannot be judged.
    """
    from snellen.check import CheckSettings
    from snellen.core.collecting import collected_seldom
    from snellen.report.progress import Telling
    from snellen.tasks.check import FolderOptions, check_target

    with collected_seldom(), Telling(silent=as_json) as tell:
        settings = CheckSettings(
            max_cost=max_cost,
            select=select or (),
            ignore=ignore or (),
            baseline=baseline,
            on_start=lambda title: tell(f"looking for: {title}"),
        )

        options = FolderOptions(layout, classes)
        look = partial(
            check_target,
            target,
            overrides=overrides or (),
            machine=machine,
            options=options,
            settings=settings,
            notify=tell,
        )
        examined, mended = _mend(look) if fix else (look(), None)
        if rehearse:
            examined = _rehearsed(examined, overrides or (), tell)
    report = examined.report
    if write_baseline is not None:
        _keep(report, write_baseline, target, as_json=as_json)
        return
    if html is not None:
        _write_page(examined, html)
    if as_json:
        _print_json(report, mended)
    else:
        _print_text(target, report, mended, verbose=verbose)
    raise typer.Exit(report.exit_code)


def _mend(look: Callable[[], Examined]) -> tuple[Examined, Mended]:
    """Mend and check again until nothing more can be mended: one mistake may hide another."""
    from snellen.check.fix import Mended, mend

    examined = look()
    applied: list[Any] = []
    files: set[str] = set()
    outcome = mend(examined.report.findings, run_file=examined.run_file)
    for _ in range(_ROUNDS):
        applied += outcome.applied
        files.update(outcome.files)
        if not outcome.files:
            break
        examined = look()
        outcome = mend(examined.report.findings, run_file=examined.run_file)
    return examined, Mended(tuple(applied), outcome.left, tuple(sorted(files)))


def _rehearsed(examined: Examined, overrides: list[str] | tuple[str, ...], tell: Any) -> Examined:
    """The same with the stages of a rehearsal as further checks."""
    from snellen.errors import UsageError
    from snellen.rehearsal import rehearse

    if examined.run_file is None:
        raise UsageError("--rehearse is for runs, and this is a data folder", hint="give a run file")
    try:
        audits = examined.plan.fact("audit")
    except FactUnavailable:
        audits = ()
    stages, seconds = rehearse(examined.run_file, overrides=overrides, audits=audits, notify=tell)
    report = examined.report
    return replace(
        examined, report=replace(report, results=(*report.results, *stages), seconds=report.seconds + seconds)
    )


def _keep(report: CheckReport, path: Path, target: Path, *, as_json: bool) -> None:
    from snellen.cli._output import print_json
    from snellen.core.baseline import write_baseline

    count = write_baseline(path, report.findings)
    if as_json:
        print_json({"kept": count, "baseline": path})
        return
    typer.echo(f"{count} finding{'s' * (count != 1)} kept in {path}")
    typer.echo(f"next: snellen check {target} --baseline {path} reports only new ones")


def _write_page(examined: Examined, path: Path) -> None:
    from snellen.core.files import write_text
    from snellen.report.check_page import check_page

    plan = examined.plan
    page = check_page(examined.report, audits=plan.answered("audit") or (), machine=plan.answered("machine"))
    write_text(path, page)
    typer.echo(f"the page with pictures: {path}", err=True)


def _print_json(report: CheckReport, mended: Mended | None) -> None:
    from snellen.cli._output import print_json

    data = report.to_dict()
    if mended is not None:
        data["mended"] = [finding.to_dict() for finding in mended.applied]
        data["left"] = [{**finding.to_dict(), "why": why} for finding, why in mended.left]
        data["changed_files"] = list(mended.files)
    print_json(data)


def _print_text(target: Path, report: CheckReport, mended: Mended | None, *, verbose: bool) -> None:
    from rich.console import Console

    from snellen.report.check_text import report_text
    from snellen.report.text import harmless, plural

    console = Console(soft_wrap=True, highlight=False)
    if mended is not None and mended.applied:
        console.print(f"mended {plural(len(mended.applied), 'finding')} in {', '.join(mended.files)}", markup=False)
        for finding in mended.applied:
            text = finding.fix.text if finding.fix else finding.message
            console.print(harmless(f"  {finding.slug}: {text}"), markup=False)
        console.print()
    console.print(report_text(report, verbose=verbose), end="")
    if mended is not None and mended.left:
        console.print("\nleft for you", markup=False)
        for finding, why in mended.left:
            console.print(harmless(f"  {finding.slug}: {why}"), markup=False)
    console.print(harmless(f"next: {_next(target, report, fixed=mended is not None)}"), markup=False)


def _next(target: Path, report: CheckReport, *, fixed: bool) -> str:
    from snellen.rules.catalogue import catalogue

    if not fixed and not target.is_dir() and any(finding.mendable for finding in report.findings):
        return f"snellen check {target} --fix"
    known = [finding.slug for finding in report.findings if finding.slug in catalogue()]
    if known:
        return f"snellen explain {known[0]}"
    if report.findings:
        return f"mend the first of these, then snellen check {target} --rehearse"
    if target.is_dir():
        return f"snellen check {target} --html audit.html"
    from snellen.config.load import read_task
    from snellen.tasks.catalogue import get

    task = get(read_task(target))
    return task.command(task.verbs[0], str(target))
