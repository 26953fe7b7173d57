"""Mends what can be mended: settings of the run file and edits of source that are safe; says what cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from snellen.config.write import apply_settings
from snellen.core.edits import apply_edits
from snellen.core.files import write_text
from snellen.core.finding import Edit, Finding, Fix, FixSafety
from snellen.errors import ConfigError, DataError, SnellenError

__all__ = ["Mended", "mend"]


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of findings.

    Args:
        applied: Those whose fix was applied.
        left: The others, each with the reason.
        files: Files that were changed.
    """

    applied: tuple[Finding, ...] = ()
    left: tuple[tuple[Finding, str], ...] = ()
    files: tuple[str, ...] = ()


def mend(findings: Iterable[Finding], *, run_file: Path | None, unsafe: bool = False) -> Mended:
    """Apply the fixes of findings.

    Args:
        findings: From a check or the linter.
        run_file: The file that settings are changed in.
        unsafe: Apply fixes, too, that a person should read first.

    Returns:
        What was applied and what was not. A file is changed as a whole or not at all.
    """
    applied: list[Finding] = []
    left: list[tuple[Finding, str]] = []
    candidates: list[tuple[Finding, Fix]] = []
    for finding in findings:
        reason = _why_not(finding.fix, unsafe=unsafe)
        if finding.fix is None or reason:
            left.append((finding, reason))
        else:
            candidates.append((finding, finding.fix))
    # Edits first: they are tied to lines, which settings may move.
    files, refused = _apply_edits([fix for _, fix in candidates])
    for index, (finding, fix) in enumerate(candidates):
        try:
            if index in refused:
                raise DataError(refused[index])
            files |= _apply_settings(fix, run_file)
        except SnellenError as error:
            left.append((finding, error.message))
        else:
            applied.append(finding)
    return Mended(tuple(applied), tuple(left), tuple(sorted(files)))


def _why_not(fix: Fix | None, *, unsafe: bool) -> str:
    if fix is None:
        return "no fix can be computed for it"
    if fix.safety is FixSafety.MANUAL or not fix.applicable:
        return f"only you can mend it: {fix.text}"
    if fix.safety is FixSafety.UNSAFE and not unsafe:
        return f"the fix is not surely right ({fix.reason or 'read it first'}): {fix.text}"
    return ""


def _apply_edits(fixes: Sequence[Fix]) -> tuple[set[str], dict[int, str]]:
    """Apply the edits of all fixes together, because all count lines of the file as it was.

    Returns:
        The changed files, and why some fixes were not applied, by their index.
    """
    refused: dict[int, str] = {}
    changed: set[str] = set()
    for path in dict.fromkeys(edit.path for fix in fixes for edit in fix.edits):
        here = {
            index: [edit for edit in fix.edits if edit.path == path]
            for index, fix in enumerate(fixes)
            if index not in refused and any(edit.path == path for edit in fix.edits)
        }
        try:
            with Path(path).open(encoding="utf-8", newline="") as file:
                text = file.read()
            new = _without_overlaps(text, here, refused)
            if new != text:
                write_text(Path(path), new)
                changed.add(path)
        except (SnellenError, OSError, UnicodeDecodeError) as error:
            message = error.message if isinstance(error, SnellenError) else f"cannot change {path}: {error}"
            refused.update(dict.fromkeys(here, message))
    return changed, refused


def _without_overlaps(text: str, edits: dict[int, list[Edit]], refused: dict[int, str]) -> str:
    while True:
        new, left_out = apply_edits(text, (edit for group in edits.values() for edit in group))
        if not left_out:
            return new
        for index in [index for index, group in edits.items() if any(edit in left_out for edit in group)]:
            refused[index] = "it changes the same place as another fix; check again"
            del edits[index]


def _apply_settings(fix: Fix, run_file: Path | None) -> set[str]:
    if not fix.settings:
        return set()
    if run_file is None:
        raise ConfigError("there is no run file to change")
    apply_settings(run_file, fix.settings)
    return {str(run_file)}
