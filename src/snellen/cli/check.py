"""`snellen check`: find what would go wrong before it costs time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.core.finding import FixSafety
from snellen.core.plan import Cost

if TYPE_CHECKING:
    from snellen.check.fix import Mended
    from snellen.core.check_report import CheckReport

__all__ = ["check", "register"]

_ROUNDS = 5


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(check)


def check(
    run: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The run file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings that win over the file.")
    ] = None,
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the fixes that are safe, then check again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also name the checks that passed.")] = False,
    select: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Only this rule or family; may be repeated.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Mute this rule or family; may be repeated.")
    ] = None,
    max_cost: Annotated[
        Cost, typer.Option(help="How long a check may take: settings only, files and imports, or whole steps.")
    ] = Cost.SECONDS,
) -> None:
    """Find what would go wrong in a run, before it costs any time.

    Exit code 1 when something would, 2 when the file cannot be judged.
    """
    from snellen.check import CheckSettings
    from snellen.tasks.check import check_run

    with _progress() as tell:
        settings = CheckSettings(max_cost=max_cost, select=select or (), ignore=ignore or (), on_start=tell)

        def look() -> CheckReport:
            return check_run(run, overrides=overrides or (), settings=settings)

        report = look()
        mended = None
        if fix:
            report, mended = _mend(run, report, look)
    if as_json:
        _print_json(report, mended)
    else:
        _print_text(run, report, mended, verbose=verbose)
    raise typer.Exit(report.exit_code)


def _mend(run: Path, report: CheckReport, look: Callable[[], CheckReport]) -> tuple[CheckReport, Mended]:
    """Mend and check again until nothing more can be mended: one mistake may hide another."""
    from snellen.check.fix import Mended, mend

    applied: list[Any] = []
    files: set[str] = set()
    outcome = mend(report.findings, run_file=run)
    for _ in range(_ROUNDS):
        applied += outcome.applied
        files.update(outcome.files)
        if not outcome.files:
            break
        report = look()
        outcome = mend(report.findings, run_file=run)
    return report, Mended(tuple(applied), outcome.left, tuple(sorted(files)))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Say on stderr which check is under way; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda _title: None
        return
    from rich.console import Console

    with Console(stderr=True).status("reading the run file") as status:
        yield status.update


def _print_json(report: CheckReport, mended: Mended | None) -> None:
    from snellen.report.json import render

    data = report.to_dict()
    if mended is not None:
        data["mended"] = [finding.to_dict() for finding in mended.applied]
        data["left"] = [{**finding.to_dict(), "why": why} for finding, why in mended.left]
        data["changed_files"] = list(mended.files)
    typer.echo(render(data))


def _print_text(run: Path, report: CheckReport, mended: Mended | None, *, verbose: bool) -> None:
    from rich.console import Console

    from snellen.report.text import plural, report_text

    console = Console(soft_wrap=True, highlight=False)
    if mended is not None and mended.applied:
        console.print(f"mended {plural(len(mended.applied), 'finding')} in {', '.join(mended.files)}", markup=False)
        for finding in mended.applied:
            text = finding.fix.text if finding.fix else finding.message
            console.print(f"  {finding.slug}: {text}", markup=False)
        console.print()
    console.print(report_text(report, verbose=verbose), end="")
    if mended is not None and mended.left:
        console.print("\nleft for you", markup=False)
        for finding, why in mended.left:
            console.print(f"  {finding.slug}: {why}", markup=False)
    console.print(f"next: {_next(run, report, fixed=mended is not None)}", markup=False)


def _next(run: Path, report: CheckReport, *, fixed: bool) -> str:
    if not fixed and any(
        finding.fix is not None and finding.fix.applicable and finding.fix.safety is FixSafety.SAFE
        for finding in report.findings
    ):
        return f"snellen check {run} --fix"
    if report.findings:
        return f"snellen explain {report.findings[0].slug}"
    return f"snellen train {run}"
