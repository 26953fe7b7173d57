"""The check that other verbs run first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from snellen.core.check_report import CheckReport

__all__ = ["refuse_errors"]


def refuse_errors(run_file: Path, overrides: Sequence[str], *, as_json: bool = False) -> CheckReport:
    """Check a run; warnings are told on stderr, and with an error nothing starts.

    Args:
        run_file: The run file.
        overrides: Settings that win over it.
        as_json: When nothing starts, also print what `snellen check --json` prints.

    Returns:
        What the checks said.

    Raises:
        typer.Exit: With code 1, after the findings were printed.
        SnellenError: The file cannot be judged.
    """
    from rich.console import Console

    from snellen.cli._output import print_json
    from snellen.report.text import count_words, findings_text
    from snellen.tasks.check import check_run

    report = check_run(run_file, overrides=overrides)
    if report.findings:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"{run_file}: {count_words(report.findings)}\n", markup=False)
        console.print(findings_text(report.findings))
    if report.exit_code:
        if as_json:
            print_json(report.to_dict())
        typer.echo(f"not started; next: {_next(run_file, report)}, or train all the same with --no-check", err=True)
        raise typer.Exit(report.exit_code)
    return report


def _next(run_file: Path, report: CheckReport) -> str:
    if any(finding.mendable for finding in report.findings):
        return f"snellen check {run_file} --fix"
    return f"mend the errors above, then snellen check {run_file}"
