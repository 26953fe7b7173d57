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
many after unpacking; a filter throws everything away. Or the run file names a layout (`data.layout`) that the folder
does not have.

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

import contextlib
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

from snellen.core.audits import listing_findings
from snellen.core.facts.data import FolderAudit, ListingKind
from snellen.core.file_kinds import is_image
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.plan import Cost, FactUnavailable, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_STATED = re.compile(
    r"num_samples should be a positive integer value, but got num_samples=0"
    r"|Found 0 (?:files|images|samples|videos)\b(?: in subfolders of: (?P<p1>.+))?"
    r"|Found no valid file for the classes|Couldn't find any class folder in (?P<p2>.+?)\.?$"
    r"|No (?:valid )?(?:images?|samples|videos|data|files) (?:were )?found (?:in|at|under) (?P<p3>[^\s,]+)"
    r"|(?:data ?set|data ?loader)(?: (?:at )?\S+)? is empty|Total length of `?DataLoader`? across ranks is zero"
    r"|No (?:valid )?labels? (?:found )?in (?P<p5>\S+?)[.,] Can ?not (?:start )?train|Found array with 0 sample"
    r"|directory at (?P<p4>\S+) doesn't contain any data files|No \(supported\) data files found in (?P<p6>\S+)"
    r"|Error loading data from (?P<p7>[^\s:]+)|images not found[^\n]{0,6}, missing path \W?(?P<p8>[^'\"\n]+)"
    r"|Instruction \"\w+\" corresponds to no data|dataset contains no (?:images|samples|data)",
    re.IGNORECASE | re.MULTILINE,
)
_NOTHING = re.compile(
    r"need at least one array to (?:concatenate|stack)|(?:min|max)\(\) (?:arg is an empty sequence|iterable argument is"
    r" empty)|empty range (?:for randrange|in randrange)|Cannot choose from an empty sequence"
    r"|(?:'a' cannot be empty|a must be greater than 0) unless no samples are taken|^low >= high$|^StopIteration$",
    re.IGNORECASE,
)
_OF_DATA = re.compile(
    r"data_?set|data_?load|sampler|\bloader|samples?\b|(?:image|img|file|path|label|frame)s?\w*(?:\)|\]|$)|__getitem__"
    r"|build_dataloader",
    re.IGNORECASE,
)
_PRINTED = re.compile(
    r"(?:number|num|total|#) ?(?:of )?train(?:ing)? (?:images|samples|examples|files|data|videos)\W{0,3}[:=]\W{0,2}0$"
    r"|train(?:ing)? (?:samples|images|set size|dataset size)\W{0,3}[:=]\W{0,2}0$|^loaded 0 (?:images|samples|files)\b",
    re.IGNORECASE,
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
    printed = log.search(_PRINTED.pattern)
    if printed is not None and all(error.name in _FOLLOWS for error in log.exceptions):
        return _match((printed.evidence,), None, 0.8)
    line = log.search(_STATED.pattern)
    if line is not None and not log.exceptions:
        found = _STATED.search(line.text)
        return _match((line.evidence,), _folder(found) if found else None, 0.8)
    return _taken_from_nothing(log)


_FOLLOWS = frozenset({"ZeroDivisionError", "ValueError", "IndexError", "StopIteration", "UnboundLocalError"})
"""What an empty list of samples leads to."""


def _taken_from_nothing(log: Log) -> LogMatch | None:
    """Something is asked of a list of samples that holds none."""
    for error in log.exceptions:
        if not _NOTHING.search(error.message or error.name):
            continue
        around = [f"{frame.code} {frame.function}" for frame in error.frames[-4:]]
        paths = " ".join(frame.path for frame in error.frames[-4:])
        frame = error.user_frame
        evidence = (error.evidence, *((frame.evidence,) if frame else ()))
        if "concatenate" in error.message and log.search(r"\bmm(?:det|cv|engine|seg)|sampler|data_?load"):
            return _match(evidence, None, 0.85)
        if any(_OF_DATA.search(text) for text in around) or re.search(r"sampler|data_?set|data_?load", paths):
            return _match(evidence, None, 0.65)
        if "concatenate" in error.message and not error.frames:
            return _match(evidence, None, 0.65)
    return None


def _counts_images(code: str) -> bool:
    return bool(re.search(r"/\s*len\(.*(?:image|sample|file|data)", code, re.IGNORECASE))


def _folder(found: re.Match[str]) -> str | None:
    return next((path.strip().rstrip(".") for path in found.groupdict().values() if path), None)


def _probe(log: Log, here: Here) -> Answer:
    match = _examine(log)
    named = re.match(r"No samples were found in (?P<path>.{1,400})\.$", match.cause) if match is not None else None
    folder = Path(named["path"].strip("'\"")) if named is not None else None
    if folder is None:
        return Answer(Outcome.CANNOT_TELL, "the log does not name the folder")
    folder = folder if folder.is_absolute() else here.root / folder
    try:
        if not folder.is_dir():
            outcome = Outcome.CONFIRMED if folder.parent.is_dir() else Outcome.CANNOT_TELL
            return Answer(outcome, f"there is no folder {folder} here")
        images = sum(is_image(path.name) for path in islice(folder.rglob("*"), _MOST))
    except (OSError, ValueError) as error:
        return Answer(Outcome.CANNOT_TELL, f"{folder} cannot be read: {error}")
    return Answer(Outcome.REFUTED if images else Outcome.CONFIRMED, f"{folder} holds {images} images")


_MOST = 100_000
"""Names looked at below a folder."""


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
            setting_place(plan, folder.key),
            fix=Fix(f"Point {folder.key} at the folder that holds the images."),
        )
    with contextlib.suppress(FactUnavailable):
        yield from _not_as_laid_out(plan, {folder.key for folder in folders if not folder.images or folder.problem})


def _not_as_laid_out(plan: Plan, said: Collection[str]) -> Iterator[Finding]:
    """Folders that hold images, and nothing where their layout has samples."""
    audits: Sequence[FolderAudit] = plan.fact("audit")
    for folder in audits:
        if folder.key in said:
            continue
        if not folder.samples:
            remedy = (
                f"Point {folder.key} at the folder that holds it, or say in data.layout how the data lies there "
                f"(auto finds out); it was read as {folder.layout}."
            )
            kinds: dict[ListingKind, tuple[str, str]] = {"missing-folder": ("lacks it", remedy)}
            yield from listing_findings(plan, [folder], "empty-dataset", Level.ERROR, kinds)
        elif folder.layout == "forged-masks":
            # Of classes it is class-without-samples, of frames unpaired-frame, of support sets support-set-short.
            remedy = "Copy its images again, or remove the folder: what it stands for is never seen in training."
            kinds = {"empty-folder": ("is empty", remedy)}
            yield from listing_findings(plan, [folder], "empty-dataset", Level.WARNING, kinds)


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
            *("error loading data", "missing path", "no data", "contains no", "data files found", "at least one array"),
            *(
                "empty sequence",
                "argument is empty",
                "empty range",
                "unless no samples",
                "low >= high",
                "stopiteration",
            ),
            *("training images", "training samples", "train images", "train samples", "set size", "loaded 0"),
        ),
        _examine,
        _probe,
    ),
    source=absent("only the folder tells how many samples there are"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("a loader without samples fails before the first step"),
    module=__name__,
)
