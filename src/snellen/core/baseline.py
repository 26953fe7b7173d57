"""Findings that are known and wait: a file that tells old ones from new ones.

A finding is recognised by its rule, its file and the text of its line, so that it stays known when lines move; one
about a key of a run file by the key, and one that names neither, such as that of a data folder, by its place.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from snellen.core.files import write_text
from snellen.core.finding import Finding
from snellen.errors import UsageError

__all__ = ["new_findings", "read_baseline", "write_baseline"]

_VERSION = 1
Known = Counter[tuple[str, str, str]]


def write_baseline(path: Path, findings: Iterable[Finding]) -> int:
    """Write the findings as known; the number of them.

    Raises:
        UsageError: The file cannot be written.
    """
    lines = _Lines()
    known = Counter(_key(finding, path.parent, lines) for finding in findings)
    entries = [
        {"slug": slug, "path": place, "code": code, "count": count}
        for (slug, place, code), count in sorted(known.items())
    ]
    try:
        write_text(path, json.dumps({"version": _VERSION, "findings": entries}, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="give another path") from error
    return known.total()


def read_baseline(path: Path, *, verb: str) -> Known:
    """The known findings of a file.

    Args:
        path: The file.
        verb: The command that reads it, for the hint: `lint` or `check`.

    Raises:
        UsageError: It is missing or was not written by `--write-baseline`.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != _VERSION:
            raise ValueError(f"version {data['version']}")
        return Counter({(str(e["slug"]), str(e["path"]), str(e["code"])): int(e["count"]) for e in data["findings"]})
    except FileNotFoundError as error:
        raise UsageError(
            f"the baseline {path} does not exist", hint=f"write it: snellen {verb} --write-baseline {path}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not a baseline: {error}", hint=f"write one: snellen {verb} --write-baseline NEW_FILE.json"
        ) from error


def new_findings(findings: Iterable[Finding], known: Known, folder: Path) -> list[Finding]:
    """The findings that are not known; of equal ones as many stay as there are more than before.

    Args:
        findings: All that were found.
        known: From `read_baseline`.
        folder: The one that the baseline stands in.
    """
    left, lines = known.copy(), _Lines()
    fresh: list[Finding] = []
    for finding in findings:
        key = _key(finding, folder, lines)
        if left[key] > 0:
            left[key] -= 1
        else:
            fresh.append(finding)
    return fresh


class _Lines:
    """The lines of files, each read once."""

    def __init__(self) -> None:
        self._files: dict[str, list[str]] = {}

    def at(self, path: str, line: int) -> str:
        if line <= 0:
            return ""
        if path not in self._files:
            try:
                self._files[path] = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
            except OSError:
                self._files[path] = []
        lines = self._files[path]
        return " ".join(lines[line - 1].split())[:200] if line <= len(lines) else ""


def _key(finding: Finding, folder: Path, lines: _Lines) -> tuple[str, str, str]:
    place = finding.location
    if place is None:
        return finding.slug, "", finding.message
    try:
        shown = Path(place.path).absolute().relative_to(folder.absolute()).as_posix()
    except ValueError:
        shown = Path(place.path).as_posix()
    # A line of a notebook counts within its cell, where the file's text has none: the message stands for it. A key of
    # a run file says more than its line, on which others may stand.
    text = finding.message if place.path.endswith(".ipynb") else place.key or ""
    code = text or lines.at(place.path, place.line or 0)
    return finding.slug, shown, code
