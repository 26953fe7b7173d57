"""No sample was found where the data should be.

What happens
------------
`ValueError: num_samples should be a positive integer value, but got num_samples=0`, `Found no valid file for the
classes`, `Couldn't find any class folder`, or, where nothing checks, an epoch that ends at once and a
`ZeroDivisionError` in `total_loss / len(loader)`.

Why
---
The path is wrong or relative to another folder than the one the program was started in; the split has another name
or case (`Train`, `train`); the files end in `.JPG` where `.jpg` is looked for; there is one level of folders too
many after unpacking; a filter throws everything away.

How to confirm
--------------
`ls` the path in the message, from the folder the program is started in. Count what the pattern finds:
`len(list(Path(root).rglob("*.jpg")))`.

Fix
---
Point at the folder that holds the samples, use an absolute path, look for endings without regard to case, and let
the program state how many samples each split has before it starts.

When it is something else
-------------------------
A division by zero that counts something else than samples: boxes, matches, classes. A data set that is there but
whose files cannot be decoded is `corrupt-image`.

Sources
-------
- `torchvision.datasets.ImageFolder`: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
- `torch.utils.data.RandomSampler`: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.RandomSampler
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_STATED = re.compile(
    r"num_samples should be a positive integer value, but got num_samples=0"
    r"|Found 0 (?:files|images|samples|videos)\b(?: in subfolders of: (?P<p1>.+))?"
    r"|Found no valid file for the classes|Couldn't find any class folder in (?P<p2>.+?)\.?$"
    r"|No (?:valid )?(?:images?|samples|videos|data|files) (?:were )?found (?:in|at|under) (?P<p3>[^\s,]+)"
    r"|(?:data ?set|data ?loader)(?: (?:at )?\S+)? is empty|Total length of `?DataLoader`? across ranks is zero"
    r"|No (?:valid )?labels? (?:found )?in (?P<p5>\S+?)\. Can ?not train|Found array with 0 sample"
    r"|directory at (?P<p4>\S+) doesn't contain any data files",
    re.IGNORECASE | re.MULTILINE,
)
_COUNTED = re.compile(
    r"/=?\s*(?:float\()?len\((?:\w+\.)*\w*(?:load|data|dl|images?|imgs?|samples|files|paths|set)\w*(?:\.\w+)*\)",
    re.IGNORECASE,
)


def _examine(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        found = _STATED.search(error.message)
        if found:
            frame = error.user_frame
            return _match((error.evidence, *((frame.evidence,) if frame else ())), _folder(found), 0.95)
        frame = error.frames[-1] if error.frames else None
        if error.name == "ZeroDivisionError" and frame and (_COUNTED.search(frame.code) or _counts_images(frame.code)):
            return _match((error.evidence, frame.evidence), None, 0.8)
    line = log.search(_STATED.pattern)
    if line is None or log.exceptions:
        return None
    found = _STATED.search(line.text)
    return _match((line.evidence,), _folder(found) if found else None, 0.8)


def _counts_images(code: str) -> bool:
    return bool(re.search(r"/\s*len\(.*(?:image|sample|file|data)", code, re.IGNORECASE))


def _folder(found: re.Match[str]) -> str | None:
    return next((path.strip().rstrip(".") for path in found.groupdict().values() if path), None)


def _match(evidence: tuple[Evidence, ...], folder: str | None, score: float) -> LogMatch:
    where = f"in {folder}" if folder else "where the program looks for them"
    cause = f"No samples were found {where}."
    listed = f"`ls {folder}`" if folder else "List that folder"
    fix = Fix(
        f"{listed}: it must hold the samples, or one folder per class with them, with the endings that are looked for "
        "(.jpg is not .JPG) and the right case of the split's name. Give an absolute path if it is relative."
    )
    return LogMatch(score, evidence, cause, fix)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("folders")
    if not folders:
        raise NotApplicable("no data folder is there to look into")
    for folder in folders:
        if folder.images and not folder.problem:
            continue
        others = ", ".join(f"{count} {suffix}" for suffix, count in folder.others)
        held = f"it holds {others}" if others else "it is empty"
        message = f"{folder.key}: {folder.path} cannot be read: {folder.problem}"
        if not folder.problem:
            message = f"{folder.key}: {folder.path} holds no image; {held}"
        yield Finding(
            "empty-dataset",
            Level.ERROR,
            message,
            Location(str(plan.path or "the settings"), plan.line_of(folder.key), key=folder.key),
            fix=Fix(f"Point {folder.key} at the folder that holds the images."),
        )


RULE = Rule(
    slug="empty-dataset",
    family="data",
    title="No samples were found",
    level=Level.ERROR,
    log=LogFacet(
        (
            "num_samples=0",
            "found 0",
            "found no",
            "class folder",
            "found in",
            "division by zero",
            "is empty",
            "across ranks is zero",
            "any data files",
            "no labels",
            "with 0 sample",
        ),
        _examine,
    ),
    source=absent("only the folder tells how many samples there are"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("a loader without samples fails before the first step"),
    module=__name__,
)
