"""A folder or an ending is written in another case than on disk.

What happens
------------
Data that is found on Windows or macOS is missing on Linux: `FileNotFoundError: data/train/0001.png`, while the disk
holds `data/Train/0001.PNG`. Or half of the images are silently left out, because the camera wrote `.JPG` and the
pattern says `*.jpg`.

Why
---
File systems of Linux tell upper from lower case; those of Windows and macOS, by default, do not. Archives carry the
names of the machine they were packed on.

How to confirm
--------------
`ls -d data/*` and compare letter by letter with the path in the settings.

Fix
---
Write the name as it stands on disk. Compare endings with `path.suffix.lower()`.

When it is something else
-------------------------
A name that differs in more than its case is `missing-file` or `empty-dataset`.

Sources
-------
- `pathlib`, case sensitivity of `glob`: https://docs.python.org/3/library/pathlib.html#pathlib.Path.glob
- Linux, case sensitivity of directories: https://docs.kernel.org/admin-guide/ext4.html
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath

from snellen.core.audits import listing_findings
from snellen.core.facts.data import ListingKind
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.plan import Cost, FactUnavailable, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_KINDS: Mapping[ListingKind, tuple[str, str]] = {
    "other-case": (
        "differs in upper and lower case",
        "Rename these files as the list or the image spells them: Linux tells upper from lower case.",
    ),
}
_MISSING = re.compile(r"(?:No such file or directory|cannot find the (?:path|file) specified)\W+(?P<path>[^'\"\n]+)")
_PATH = re.compile(r"(?<![\w.~-])[\w.~-]*(?:[\\/][\w.-]+)+")


def _examine(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        found = _MISSING.search(error.message)
        if found is None:
            continue
        missing = found["path"].strip().replace("\\\\", "/").replace("\\", "/")
        for line in log.lines:
            for path in _PATH.findall(line.text):
                twin = _twin(missing, path.replace("\\", "/"))
                if twin and line.number != error.line:
                    cause = f"`{missing}` is missing, while the log also names `{path}`, which differs in case only."
                    fix = Fix(f"Write the name as it stands on disk: compare `{twin[0]}` with `{twin[1]}`.")
                    return LogMatch(0.92, (error.evidence, line.evidence), cause, fix)
    return None


def _twin(missing: str, other: str) -> tuple[str, str] | None:
    """The first parts of two paths that are the same but for their case, when all before them are equal."""
    for mine, theirs in zip(missing.split("/"), other.split("/"), strict=False):
        if mine != theirs:
            return (mine, theirs) if mine.lower() == theirs.lower() and mine else None
    return None


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    paths = plan.fact("paths")
    if not paths:
        raise NotApplicable("the run names no path")
    with contextlib.suppress(FactUnavailable):
        yield from listing_findings(plan, plan.fact("audit"), "split-case", Level.ERROR, _KINDS)
    for path in paths:
        if path.other_case is None:
            continue
        on_disk = PurePath(path.other_case)
        relative = on_disk.is_relative_to(plan.root) and not PurePath(path.given).is_absolute()
        written = on_disk.relative_to(plan.root).as_posix() if relative else str(on_disk)
        yield Finding(
            "split-case",
            Level.ERROR,
            f"{path.key} is {path.given!r}, on disk it is {written!r}: Linux tells upper from lower case",
            setting_place(plan, path.key),
            fix=Fix(
                f"Write {path.key}: {written}",
                FixSafety.SAFE,
                "nothing else there differs in case only",
                settings=((path.key, written),),
            ),
        )


RULE = Rule(
    slug="split-case",
    family="data",
    title="A path differs from the disk in upper and lower case",
    level=Level.ERROR,
    log=LogFacet(("no such file", "cannot find"), _examine),
    source=absent("only the disk tells how the name is written"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("paths are read before the first step"),
    module=__name__,
)
