"""Apply edits to files: safe ones, none twice, nothing written that no longer parses."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snellen.core.files import write_text
from snellen.core.finding import Edit, Finding, FixSafety
from snellen.errors import SnellenError
from snellen.lint.notebooks import cell_of, edit_cells
from snellen.lint.read import ReadError, check_text, read_notebook
from snellen.lint.runner import FileError, Report
from snellen.lint.text import split_lines

__all__ = ["Fixed", "apply_edits", "fix_files", "wanted_edits"]

_MOST_ROUNDS = 10


@dataclass(slots=True)
class Fixed:
    """What was changed: the new text of each file, how many findings that mended, and the differences."""

    texts: dict[str, str] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    applied: int = 0
    errors: list[FileError] = field(default_factory=list)

    @property
    def diff(self) -> str:
        """A unified diff of all changed files."""
        parts: list[str] = []
        for path, text in sorted(self.texts.items()):
            before = split_lines(self.originals[path])
            parts.extend(difflib.unified_diff(before, split_lines(text), f"a/{path}", f"b/{path}"))
        return "".join(part if part.endswith("\n") else f"{part}\n\\ No newline at end of file\n" for part in parts)


def wanted_edits(findings: Iterable[Finding], *, unsafe: bool) -> list[tuple[Edit, ...]]:
    """The edits that may be applied, one group a finding."""
    allowed = {FixSafety.SAFE, FixSafety.UNSAFE} if unsafe else {FixSafety.SAFE}
    fixes = (finding.fix for finding in findings)
    return [fix.edits for fix in fixes if fix is not None and fix.edits and fix.safety in allowed]


def fix_files(report: Report, *, unsafe: bool, write: bool, again: Callable[[], Report]) -> Fixed:
    """Apply the fixes of a report, look again and go on until nothing is left to apply.

    Args:
        report: The findings.
        unsafe: Whether fixes that may change behaviour are applied, too.
        write: Whether files are written; else only the differences of the first round are made.
        again: Looks at the same paths once more.
    """
    fixed = Fixed()
    for _ in range(_MOST_ROUNDS if write else 1):
        groups = wanted_edits(report.findings, unsafe=unsafe)
        changed = _one_round(groups, fixed, write=write)
        if not changed:
            break
        if write:
            report = again()
    return fixed


def _one_round(groups: Sequence[tuple[Edit, ...]], fixed: Fixed, *, write: bool) -> bool:
    by_path: dict[str, list[tuple[Edit, ...]]] = {}
    for group in groups:
        if len({edit.path for edit in group}) == 1:
            by_path.setdefault(cell_of(group[0].path)[0], []).append(group)
    changed = False
    for path, wanted in by_path.items():
        if any(error.path == path for error in fixed.errors):
            continue
        try:
            before = _read(Path(path))
            after, count = _edited(before, wanted, Path(path))
            if write:
                write_text(Path(path), after)
        except (ReadError, OSError, UnicodeDecodeError, SnellenError) as error:
            fixed.errors.append(FileError(path, None, f"not fixed: {error}"))
            continue
        fixed.originals.setdefault(path, before)
        fixed.texts[path] = after
        fixed.applied += count
        changed = changed or count > 0
    return changed


def _edited(before: str, wanted: Sequence[tuple[Edit, ...]], path: Path) -> tuple[str, int]:
    """The new text of a file, which can still be read."""
    if path.suffix == ".ipynb":
        after, count = edit_cells(before, wanted, apply_edits)
        broken, was_broken = (read_notebook(text.encode()).problems for text in (after, before))
        if len(broken) > len(was_broken):
            raise broken[-1]
        return after, count
    after, count = apply_edits(before, wanted)
    check_text(after, path.suffix)
    return after, count


def _read(path: Path) -> str:
    if not os.access(path, os.W_OK):
        raise ReadError("permission denied")
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def apply_edits(text: str, groups: Iterable[Sequence[Edit]]) -> tuple[str, int]:
    r"""The text with groups of edits applied, and how many groups were; one that overlaps an earlier one waits.

    Example:
        >>> apply_edits("a = 1\n", [[Edit("x.py", 1, 4, 1, 5, "2")]])
        ('a = 2\n', 1)
    """
    lines = split_lines(text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    mark = len(text) - len(text.removeprefix("\ufeff"))
    taken: list[tuple[int, int, str]] = []
    count = 0
    for group in groups:
        spans = []
        for edit in group:
            shift = [mark if line == 1 else 0 for line in (edit.start_line, edit.end_line)]
            start = starts[edit.start_line - 1] + edit.start_column + shift[0]
            spans.append((start, starts[edit.end_line - 1] + edit.end_column + shift[1], edit.replacement))
        if any(start < end2 and start2 < end for start, end, _ in spans for start2, end2, _ in taken):
            continue
        taken.extend(spans)
        count += 1
    for start, end, replacement in sorted(taken, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text, count
