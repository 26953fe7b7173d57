"""What rules about data have in common: which folders there are, where a finding points, how files are named in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Final

from snellen.core.facts.data import FolderAudit, ListingKind
from snellen.core.facts.names import FolderNames, NameTrouble
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.plan import NotApplicable, Plan, setting_place

__all__ = [
    "MAX_EVIDENCE",
    "audited",
    "clips",
    "file_evidence",
    "listed",
    "listing_findings",
    "share",
    "short",
    "trouble_findings",
]

MAX_EVIDENCE: Final = 20
"""Files that one finding names."""


def audited(plan: Plan) -> Sequence[FolderAudit]:
    """The data folders of a run that hold at least one sample.

    Raises:
        NotApplicable: There is none.
    """
    folders: Sequence[FolderAudit] = plan.fact("audit")
    found = [folder for folder in folders if len(folder.samples)]
    if not found:
        raise NotApplicable("no data folder holds a sample")
    return found


def clips(plan: Plan) -> Sequence[FolderAudit]:
    """The data folders that hold sequences of frames.

    Raises:
        NotApplicable: There is none.
    """
    found = [folder for folder in audited(plan) if folder.layout in ("frames", "frame-pairs")]
    if not found:
        raise NotApplicable("no data folder holds sequences of frames")
    return found


def file_evidence(files: Iterable[tuple[str, str]]) -> tuple[Evidence, ...]:
    """Path and what was seen there, of the first files.

    Example:
        >>> [str(one.location) for one in file_evidence([("masks/a.png", "holds 0 and 7")])]
        ['masks/a.png']
    """
    return tuple(Evidence(text, Location(path)) for (path, text), _ in zip(files, range(MAX_EVIDENCE), strict=False))


def short(path: str, *, parts: int = 2) -> str:
    """A path as people recognise it: its folder and its name, or more of its last parts.

    Example:
        >>> short("/data/set/train/masks/a.png"), short("/data/set/clip/spike/stream.dat", parts=3)
        ('masks/a.png', 'clip/spike/stream.dat')
    """
    return "/".join(PurePath(path).parts[-parts:])


def listed(names: Sequence[str], limit: int = 3) -> str:
    """The first names, and how many more there are.

    Example:
        >>> listed(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def share(count: int, of: int) -> str:
    """A count among others, with its percentage.

    Example:
        >>> share(3, 40), share(1, 4000)
        ('3 of 40 (8%)', '1 of 4000 (0.03%)')
    """
    percent = 100 * count / of if of else 0.0
    return f"{count} of {of} ({percent:.0f}%)" if percent >= 1 or not count else f"{count} of {of} ({percent:.1g}%)"


def listing_findings(
    plan: Plan, folders: Iterable[FolderAudit], slug: str, level: Level, kinds: Mapping[ListingKind, tuple[str, str]]
) -> Iterator[Finding]:
    """A finding for each problem of some kinds that listing a folder has shown.

    Args:
        plan: The run.
        folders: Its data folders.
        slug: The rule that asks.
        level: Of its findings.
        kinds: Kind of problem to what is said of each file and what to do about them.
    """
    for folder in folders:
        for problem in folder.problems:
            if problem.kind not in kinds:
                continue
            said, remedy = kinds[problem.kind]
            yield Finding(
                slug,
                level,
                f"{folder.key}: {problem.message}",
                setting_place(plan, folder.key),
                file_evidence((path, said) for path in problem.paths),
                Fix(remedy),
            )


def trouble_findings(
    plan: Plan, slug: str, troubles: Sequence[NameTrouble], harmful: Sequence[NameTrouble], said: str, fix: Fix
) -> Iterator[Finding]:
    """A finding for each data folder whose names make trouble: a warning where it is harmful, else a note.

    Args:
        plan: The run.
        slug: The rule that asks.
        troubles: Kinds of trouble, the worst first.
        harmful: Those of them that do harm.
        said: What is wrong with the entries, after their number.
        fix: What to do about them.

    Raises:
        NotApplicable: The run names no data folder.
    """
    folders: Sequence[FolderNames] = plan.fact("names")
    if not folders:
        raise NotApplicable("the run names no data folder")
    for folder in folders:
        count = folder.count(*troubles)
        if not count:
            continue
        found = sorted(
            (name for name in folder.found if name.trouble in troubles),
            key=lambda name: (troubles.index(name.trouble), name.path),
        )
        yield Finding(
            slug,
            Level.WARNING if folder.count(*harmful) else Level.NOTE,
            f"{folder.key}: {count} of {folder.entries} {said}: {listed([short(name.path) for name in found])}",
            setting_place(plan, folder.key),
            file_evidence((name.path, name.why) for name in found),
            fix,
        )
