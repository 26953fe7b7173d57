"""`snellen lint`: known failure patterns in source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snellen.core.files import plain
from snellen.core.finding import Finding, Level

if TYPE_CHECKING:
    from snellen.lint.fixes import Fixed
    from snellen.lint.runner import Report

__all__ = ["register"]

_EXAMPLES = """\b
Examples:
  snellen lint                           this folder
  snellen lint src train.ipynb           files, folders, notebooks
  snellen lint src --diff                what --fix would change
  snellen lint src --fix                 apply the safe fixes
  snellen lint src --select half-overflow --select fill-out-of-range

\b
Exit code 0: no finding of level error; 1: there are some; 2: something could not be looked at.
A line is left alone that says # snellen: ignore[slug]."""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog=_EXAMPLES)(lint)


def lint(
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders; this folder by default.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool, typer.Option("--unsafe-fixes", help="With --fix or --diff: the others, too.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what --fix would change; change nothing.")] = False,
    select: Annotated[list[str] | None, typer.Option(metavar="SLUG", help="Ask only this rule; repeatable.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="SLUG", help="Do not ask this rule; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find known failure patterns in Python files and notebooks before they run."""
    from snellen.lint.fixes import fix_files
    from snellen.lint.runner import chosen_rules, run

    rules, given = chosen_rules(select or (), ignore or ()), paths or [Path()]
    report, fixed = run(given, rules), None
    if fix or diff:
        fixed = fix_files(report, unsafe=unsafe_fixes, write=fix and not diff, again=lambda: run(given, rules))
        report = run(given, rules) if fixed.applied and not diff else report
        report.errors.extend(fixed.errors)
    if as_json:
        typer.echo(_as_json(report, fixed))
    elif diff and fixed is not None:
        typer.echo(fixed.diff, nl=False)
    else:
        typer.echo("\n".join(_text(report, fixed)))
    for error in report.errors if not as_json else ():
        typer.echo(f"snellen: {error.path}{f':{error.line}' if error.line else ''}: {error.message}", err=True)
    if any(finding.level is Level.ERROR for finding in report.findings):
        raise typer.Exit(1)
    if report.errors:
        raise typer.Exit(2)


def _as_json(report: Report, fixed: Fixed | None) -> str:
    return json.dumps(
        {
            "findings": [finding.to_dict() for finding in report.findings],
            "errors": plain(report.errors),
            "files": report.files,
            "fixed": fixed.applied if fixed is not None else 0,
            "diff": fixed.diff if fixed is not None else "",
        },
        indent=2,
    )


def _text(report: Report, fixed: Fixed | None) -> Iterator[str]:
    for finding in report.findings:
        yield f"{finding.location}: {finding.level.value}[{finding.slug}] {finding.message}"
        for fact in finding.evidence:
            yield f"    see: {fact.location}: {fact.text}"
        if finding.fix is not None:
            yield f"    fix{_safety(finding)}: {finding.fix.text}"
    yield from _summary(report, fixed)


def _safety(finding: Finding) -> str:
    applicable = finding.fix is not None and finding.fix.applicable
    return f" ({finding.fix.safety.value})" if applicable and finding.fix is not None else ""


def _summary(report: Report, fixed: Fixed | None) -> Iterator[str]:
    if report.findings:
        yield ""
    count, files = len(report.findings), report.files
    mended = f", {fixed.applied} fixed" if fixed is not None else ""
    unread = f", {len(report.errors)} not looked at" if report.errors else ""
    yield f"{count} finding{'s' * (count != 1)} in {files} file{'s' * (files != 1)}{mended}{unread}"
    safe = any(f.fix is not None and f.fix.edits and f.fix.safety.value == "safe" for f in report.findings)
    if safe and fixed is None:
        yield "next: snellen lint --diff shows the safe fixes, --fix applies them"
    elif report.findings:
        yield f"next: snellen explain {report.findings[0].slug}"
