"""`snellen lint`: known failure patterns in source."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.core.finding import Finding, FixSafety, Level

if TYPE_CHECKING:
    from snellen.core.rule import Rule
    from snellen.lint.configuration import Configuration
    from snellen.lint.fixes import Fixed
    from snellen.lint.runner import Report

__all__ = ["register"]

_EXAMPLES = """\b
Examples:
  snellen lint                           this folder
  snellen lint src train.ipynb run.yaml  files, folders, notebooks, settings
  snellen lint src --diff                what --fix would change
  snellen lint src --fix                 apply the safe fixes
  snellen lint src --prove               what each fix changes in a step on the CPU; runs your code, needs torch
  snellen lint src --select half-overflow --select fill-out-of-range
  snellen lint --write-baseline .snellen-baseline.json   what is there now is known
  snellen lint --baseline .snellen-baseline.json         only what is new
  snellen lint src --format sarif > lint.sarif           for code hosts; github: annotations

\b
Exit code 0: no finding of level error; 1: there are some; 2: something could not be looked at.
A line is left alone that says # snellen: ignore[slug], a file that says # snellen: ignore-file[slug].
[tool.snellen.lint] in pyproject.toml takes select, ignore, exclude, baseline and per-file-ignores."""


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command(epilog=_EXAMPLES)(lint)


def lint(  # noqa: PLR0913 - one parameter an option
    paths: Annotated[list[Path] | None, typer.Argument(help="Files and folders; this folder by default.")] = None,
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool, typer.Option("--unsafe-fixes", help="With --fix or --diff: the others, too.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what --fix would change; change nothing.")] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Run the functions to be fixed on made-up tensors, before and after.")
    ] = False,
    select: Annotated[list[str] | None, typer.Option(metavar="SLUG", help="Ask only this rule; repeatable.")] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="SLUG", help="Do not ask this rule; repeatable.")] = None,
    baseline: Annotated[Path | None, typer.Option(metavar="FILE", help="Known findings: only new ones count.")] = None,
    write_baseline: Annotated[
        Path | None, typer.Option("--write-baseline", metavar="FILE", help="Write what is found as known.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How findings are printed.")] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="As --format json.")] = False,
) -> None:
    """Find known failure patterns in Python files, notebooks and YAML before they run."""
    from snellen.lint.configuration import find_configuration
    from snellen.lint.fixes import fix_files
    from snellen.lint.runner import chosen_rules, run

    given = paths or [Path()]
    configuration = find_configuration(given)
    rules = chosen_rules(select or configuration.select, (*(ignore or ()), *configuration.ignore))
    again = shlex.join(["snellen", "lint", *map(str, paths or ())])
    report, fixed = run(given, rules, configuration), None
    as_json = as_json or output is Format.JSON
    if write_baseline is not None:
        _keep(report, write_baseline, again, as_json=as_json)
        return
    known = baseline or configuration.baseline
    if prove:
        _prove(_only_new(report, known), again, as_json=as_json)
        return
    if fix or diff:
        look = partial(_new, given, rules, configuration, known)
        fixed = fix_files(look(), unsafe=unsafe_fixes, write=fix and not diff, again=look)
        report = run(given, rules, configuration) if fixed.applied and not diff else report
        report.errors.extend(fixed.errors)
    report = _only_new(report, known)
    if diff and fixed is not None and not as_json:
        typer.echo(fixed.diff, nl=False)
    else:
        _print(report, fixed, rules, again, Format.JSON if as_json else output)
    for error in report.errors if not as_json else ():
        typer.echo(f"snellen: {error.path}{f':{error.line}' if error.line else ''}: {error.message}", err=True)
    if any(finding.level is Level.ERROR for finding in report.findings):
        raise typer.Exit(1)
    if report.errors:
        raise typer.Exit(2)


def _new(paths: Sequence[Path], rules: Mapping[str, Rule], configuration: Configuration, known: Path | None) -> Report:
    from snellen.lint.runner import run

    return _only_new(run(paths, rules, configuration), known)


def _only_new(report: Report, known: Path | None) -> Report:
    from snellen.core.baseline import new_findings, read_baseline

    if known is not None:
        fresh = new_findings(report.findings, read_baseline(known, verb="lint"), known.parent)
        report = replace(report, findings=fresh, known=len(report.findings) - len(fresh))
    return report


def _keep(report: Report, path: Path, again: str, *, as_json: bool) -> None:
    from snellen.cli._output import print_json
    from snellen.core.baseline import write_baseline

    count = write_baseline(path, report.findings)
    if as_json:
        print_json({"kept": count, "files": report.files, "baseline": path})
        return
    typer.echo(f"{count} finding{'s' * (count != 1)} of {report.files} files kept in {path}")
    again = f"{again} --baseline {shlex.quote(str(path))}"
    typer.echo(f"next: {again} reports only new ones; name it in [tool.snellen.lint] for good")


def _prove(report: Report, again: str, *, as_json: bool) -> None:
    from snellen.cli._output import print_json
    from snellen.proving import prove

    shown = []
    for proof in prove(report.findings):
        place = proof.finding.location
        shown.append({"slug": proof.finding.slug, "place": str(place), "verdict": proof.verdict, "text": proof.text})
        if not as_json:
            typer.echo(f"{place}: [{proof.finding.slug}] {proof.verdict.value}: {proof.text}")
    if as_json:
        print_json({"proofs": shown})
    else:
        typer.echo(f"{len(shown)} fixes tried\nnext: {again} --diff shows them, --fix applies the safe ones")


def _print(report: Report, fixed: Fixed | None, rules: Mapping[str, Rule], again: str, output: Format) -> None:
    from snellen.cli._output import print_json

    if output is Format.JSON:
        print_json(_as_json(report, fixed))
    elif output is Format.SARIF:
        from snellen import __version__
        from snellen.report.sarif import sarif

        print_json(sarif(report.findings, rules, version=__version__))
    elif output is Format.GITHUB:
        from snellen.report.github import github

        for line in github(report.findings):
            typer.echo(line)
    else:
        typer.echo("\n".join(_text(report, fixed, again)))


def _as_json(report: Report, fixed: Fixed | None) -> dict[str, Any]:
    return {
        "findings": [finding.to_dict() for finding in report.findings],
        "errors": report.errors,
        "files": report.files,
        "known": report.known,
        "fixed": fixed.applied if fixed is not None else 0,
        "diff": fixed.diff if fixed is not None else "",
    }


def _text(report: Report, fixed: Fixed | None, again: str) -> Iterator[str]:
    for finding in report.findings:
        yield f"{finding.location}: {finding.level.value}[{finding.slug}] {finding.message}"
        for fact in finding.evidence:
            yield f"    see: {fact.location}: {fact.text}"
        if finding.fix is not None:
            yield f"    fix{_safety(finding)}: {finding.fix.text}"
    yield from _summary(report, fixed, again)


def _safety(finding: Finding) -> str:
    applicable = finding.fix is not None and finding.fix.applicable
    return f" ({finding.fix.safety.value})" if applicable and finding.fix is not None else ""


def _summary(report: Report, fixed: Fixed | None, again: str) -> Iterator[str]:
    if report.findings:
        yield ""
    count, files = len(report.findings), report.files
    mended = f", {fixed.applied} fixed" if fixed is not None else ""
    known = f", {report.known} known" if report.known else ""
    unread = f", {len(report.errors)} not looked at" if report.errors else ""
    yield f"{count} finding{'s' * (count != 1)} in {files} file{'s' * (files != 1)}{mended}{known}{unread}"
    left = {finding.fix.safety for finding in report.findings if finding.fix is not None and finding.fix.edits}
    if FixSafety.SAFE in left and fixed is None:
        yield f"next: {again} --diff shows the safe fixes, --fix applies them"
    elif FixSafety.UNSAFE in left:
        yield f"next: {again} --diff --unsafe-fixes shows fixes to read before they are applied"
    elif report.findings:
        yield f"next: snellen explain {report.findings[0].slug}"
