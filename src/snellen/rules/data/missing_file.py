"""An image, mask or table that a list names is not on disk.

What happens
------------
`FileNotFoundError: [Errno 2] No such file or directory: '.../JPEGImages/081.jpg'` from inside a loader worker,
often hours into a run, when the one bad entry is drawn. OpenCV raises nothing: `imread` returns `None`, and the
next line fails with `'NoneType' object has no attribute 'shape'` or `(-215:Assertion failed) !_src.empty()`.

Why
---
The list (CSV, JSON, VOC split) is newer or older than the folder; the path is put together wrongly (a separator is
missing, two roots are joined, the ending is doubled); the path is relative and the program was started elsewhere; a
download or an unpacking ended early.

How to confirm
--------------
`ls` the path of the message. Count the entries of the list whose file is missing: one is a broken list, all are a
wrong root.

Fix
---
Check all paths of the list once, before training, and drop or mend what is missing. Test the result of `cv2.imread`
for `None`.

When it is something else
-------------------------
A file that is there and cannot be decoded is `corrupt-image`; a link that leads nowhere is `broken-link`. Missing
weights are `missing-checkpoint`. A folder without any sample is `empty-dataset`.

Sources
-------
- OpenCV, `imread` returns an empty matrix: https://docs.opencv.org/4.x/d4/da8/group__imgcodecs.html
- `FileNotFoundError`: https://docs.python.org/3/library/exceptions.html#FileNotFoundError
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from snellen.core.audits import listing_findings
from snellen.core.facts.data import ListingKind
from snellen.core.file_kinds import is_data, is_weights, name_of
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.plan import Cost, FactUnavailable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_KINDS: Mapping[ListingKind, tuple[str, str]] = {
    "missing-file": ("is named and not there", "Fetch these files again, or take them off the list.")
}
_MISSING = re.compile(r"(?:\[Errno 2\] |\[WinError [23]\] )?No such file or directory:?\s*['\"]?(?P<path>[^'\"\n]*)")
_NOT_FOUND = re.compile(r"^(?P<path>\S[^\n'\"]*?) not found\.?$")
_FORMS = (
    re.compile(r"name = '(?P<path>[^']+)', errno = 2"),
    re.compile(r"^(?P<path>[^\n'\":]{1,300}): No such file or directory"),
    _MISSING,
    _NOT_FOUND,
    re.compile(r"\[WinError [23]\][^:]*: ['\"](?P<path>[^'\"]+)"),
    re.compile(r"(?:^|sitk::ERROR: The )[Ff]ile b?['\"](?P<path>[^'\"]+)['\"] does not exist"),
    re.compile(r"No such file or no access: ['\"](?P<path>[^'\"]+)"),
    re.compile(
        r"(?:img|image|Image|annotation) (?:file )?(?:does not exist|Not Found|not found):? (?P<path>[^\n'\"]{1,300})"
    ),
)
_UNREADABLE = re.compile(r"imread_\(['\"](?P<path>[^'\"]+)['\"]\): can't open/read file")
_NONE = re.compile(r"'NoneType' object (?:has no attribute '(?:shape|astype|dtype|copy|size)'|is not subscriptable)")
_EMPTY = re.compile(
    r"\(-215(?::Assertion failed)?\) (?:!_?(?:s(?:rc|size)|dsize|img|buf)\.empty\(\)|ssize\.(?:width|area\(\)) > 0"
    r"|inv_scale_x > 0)"
)
_CAMERA = re.compile(r"VideoCapture|\bcap\.read|webcam|camera|imshow", re.IGNORECASE)
_OPERAND = re.compile(r"unsupported operand type\(s\) for [^\n]{1,8}: 'NoneType' and|'NoneType' and 'NoneType'")
_DATA_FOLDER = re.compile(
    r"(?:^|[\\/])(?:data_?sets?|images?|imgs|masks?|train(?:ing)?|val(?:idation)?|test|labels?|annotations?)(?:[\\/]|$)",
    re.IGNORECASE,
)
_READS_DATA = re.compile(r"__getitem__|DataLoader|_worker_loop|data_?set|data_?load|fetch", re.IGNORECASE)
_DECODES = re.compile(
    r"Image\.open|imread|read_image|np\.load|loader\(|pil_loader|sitk\.|nib\.|read_csv|listdir|scandir"
)
_WRITES = re.compile(r"['\"][wax]b?\+?['\"]|\bsave\w*\(|imwrite|to_csv|savetxt|torch\.load|load_checkpoint|mkdir|Popen")


def _examine(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        found = next((m for pattern in _FORMS if (m := pattern.search(error.message))), None)
        if found and error.name.endswith("Error"):
            match = _named(error, found["path"].strip())
            if match:
                return match
    unread = log.search(_UNREADABLE.pattern)
    if unread is not None and (found := _UNREADABLE.search(unread.text)):
        return _match((unread.evidence,), found["path"], 0.85)
    return _read_as_nothing(log)


def _read_as_nothing(log: Log) -> LogMatch | None:
    """OpenCV gave `None` for an image, and the next call on it failed."""
    for error in log.exceptions:
        reading = any(_DECODES.search(frame.code) or _READS_DATA.search(frame.function) for frame in error.frames)
        reading = reading or (not error.frames and log.search(r"\bimread\(") is not None)
        frame = error.user_frame
        evidence = (error.evidence, *((frame.evidence,) if frame else ()))
        if reading and (_NONE.search(error.message) or _OPERAND.search(error.message)):
            return _match(evidence, None, 0.65)
        if _EMPTY.search(error.message) and not log.search(_CAMERA.pattern):
            return _match(evidence, None, 0.65 if reading else 0.55)
    line = log.search(_EMPTY.pattern) if not log.exceptions and not log.search(_CAMERA.pattern) else None
    return _match((line.evidence,), None, 0.55) if line is not None else None


def _named(error: LoggedException, path: str) -> LogMatch | None:
    if is_weights(path) or any(_WRITES.search(frame.code) for frame in error.frames[-3:]):
        return None
    reading = any(
        _DECODES.search(frame.code) or _READS_DATA.search(frame.function) or "PIL" in frame.path
        for frame in error.frames
    )
    score = 0.92 if is_data(path) else 0.8 if reading else 0.6 if _DATA_FOLDER.search(path) else 0.0
    frame = error.user_frame
    return _match((error.evidence, *((frame.evidence,) if frame else ())), path, score) if score else None


def _probe(log: Log, here: Here) -> Answer:
    match = _examine(log)
    named = re.search(r" is not at `(?P<path>[^`]{1,400})`", match.cause) if match is not None else None
    if named is None:
        return Answer(Outcome.CANNOT_TELL, "the log does not name the file")
    path = Path(named["path"])
    if re.match(r"[A-Za-z]:[\\/]|\\\\", named["path"]) and os.name != "nt":
        return Answer(Outcome.CANNOT_TELL, f"{path} is a path of another system")
    path = path if path.is_absolute() else here.root / path
    try:
        if path.exists():
            return Answer(Outcome.REFUTED, f"{path} is there")
        above = next(folder for folder in path.parents if folder.exists())
    except (OSError, ValueError) as error:
        return Answer(Outcome.CANNOT_TELL, f"{path} cannot be looked at: {error}")
    if above in (path.parent, path.parent.parent):
        return Answer(Outcome.CONFIRMED, f"{path} is not there; {above} is")
    return Answer(Outcome.CANNOT_TELL, f"of {path} only {above} is there: this may be another machine")


def _match(evidence: tuple[Evidence, ...], path: str | None, score: float) -> LogMatch:
    if not path:
        cause = "An image is empty: OpenCV's `imread` gave `None`, most often because the file is not there."
        fix = "Print the path before it is read, and test the result of `cv2.imread` for `None`."
        return LogMatch(score, evidence, cause, Fix(fix))
    cause = f"`{name_of(path)}` is not at `{path}`."
    parts = []
    if "\\" in path and "/" in path:
        parts.append("The path mixes / and \\: put it together with `pathlib.Path`.")
    if not re.match(r"^(?:[\\/~]|[A-Za-z]:)", path):
        parts.append("It is relative: it counts from the folder that the program was started in.")
    parts.append("If the file is there under another name, mend the list or the joining of root and name; ")
    text = " ".join(parts).rstrip("; ") + ". Check all paths of the list once before training."
    return LogMatch(score, evidence, cause, Fix(text))


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    paths = plan.fact("paths")
    for path in paths:
        # Another case is split-case, weights are missing-checkpoint.
        if path.exists or path.other_case is not None or path.key.endswith("weights"):
            continue
        if path.problem:
            message = f"{path.key}: {path.path} cannot be looked at: {path.problem}"
            place = setting_place(plan, path.key)
            fix = Fix("Mount it again, give yourself the right to read it, or name another path.")
            yield Finding("missing-file", Level.ERROR, message, place, fix=fix)
            continue
        beside = f"; beside it: {', '.join(path.siblings)}" if path.siblings else ""
        beside = beside if path.parent_exists else "; the folder that should hold it is not there either"
        yield Finding(
            "missing-file",
            Level.ERROR,
            f"{path.key}: there is no {path.path}{beside}",
            setting_place(plan, path.key),
            fix=_nearest(path.key, path.given, path.nearest),
        )
    with contextlib.suppress(FactUnavailable):
        # A link that leads nowhere is broken-link.
        yield from listing_findings(plan, plan.fact("audit"), "missing-file", Level.ERROR, _KINDS)


def _nearest(key: str, given: str, name: str | None) -> Fix:
    if given.startswith("~") or "$" in given:
        return _expanded(key, given)
    if name is None:
        return Fix(f"Give {key} the path of something that is there.")
    path = str(PurePosixPath(given).with_name(name))
    return Fix(
        f"Write {key}: {path}, if that is what was meant.",
        FixSafety.UNSAFE,
        "it is only the nearest name",
        settings=((key, path),),
    )


def _expanded(key: str, given: str) -> Fix:
    path = os.path.expanduser(os.path.expandvars(given))  # noqa: PTH111 - text, as the setting is
    if path.startswith("~") or "$" in path:
        return Fix(f"Write {key} in full: ~ and $NAME stand for something in a shell only, and here not even there.")
    reason = "nothing else can be meant, but on another machine it is another folder"
    return Fix(
        f"Write {key}: {path} (~ and $NAME stand for something in a shell only).",
        FixSafety.UNSAFE,
        reason,
        settings=((key, path),),
    )


RULE = Rule(
    slug="missing-file",
    family="data",
    title="A file of the data set is not on disk",
    level=Level.ERROR,
    log=LogFacet(
        (
            "no such file",
            "not found",
            "winerror",
            "does not exist",
            "'nonetype' object",
            "empty()",
            "can't open/read file",
            "'nonetype' and",
            "ssize.",
            "inv_scale_x",
        ),
        _examine,
        _probe,
    ),
    source=absent("only the disk tells which files are there"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("a missing file raises in the loader, before the step"),
    module=__name__,
)
