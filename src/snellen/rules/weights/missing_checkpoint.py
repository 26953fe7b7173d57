"""The weights that are to be loaded are not where the settings say.

What happens
------------
`FileNotFoundError: [Errno 2] No such file or directory: 'checkpoints/model.pth'` from `torch.load`, or, worse, a
line `no checkpoint found at ...` after which the run goes on with random weights.

Why
---
The weights were never downloaded; the path is a placeholder of a README; it is relative to another folder than the
one the program was started in; the option was left empty; the run that should have written the file ended before
its first save.

How to confirm
--------------
`ls -l` the path of the message, from the folder the program is started in.

Fix
---
Download the file, or give the path as an absolute one. A program that is told to load weights should stop when they
are missing.

When it is something else
-------------------------
A file that is there and cannot be read is a corrupt or unsafe checkpoint. A file of the data set is `missing-file`.
A name of a model hub that cannot be reached is a network problem.

Sources
-------
- `torch.load`: https://docs.pytorch.org/docs/stable/generated/torch.load.html
- Saving and loading models: https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.file_kinds import is_weights, name_of
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


_MISSING = re.compile(r"No such file or directory:?\s*['\"]?(?P<path>[^'\"\n]*)")
_STATED = re.compile(
    r"no (?:checkpoint|weights|pretrained model) found (?:at|in) ['\"]?(?P<path>[^'\"\s]*)"
    r"|Error no file named .{0,200} found in directory (?P<folder>[^\s.]+)",
    re.IGNORECASE,
)
_ABSENT = re.compile(
    r"(?<![^\s'\"])(?P<path>[^\s'\"]+\.(?:pth\.tar|pth|pt|ckpt|safetensors|bin|onnx|weights))['\"]?:? "
    r"(?:does not exist|doesn't exist|not found|is not a file|is not a checkpoint file|can ?not be found|not exist)",
    re.IGNORECASE,
)
_LOADS = re.compile(r"torch\.load\(|load_file\(|load_checkpoint\(|safe_open\(|load_state_dict\(|load_from_checkpoint\(")
_PLACEHOLDER = re.compile(r"path/to|/path|XXX|your[_-]|<|\.\.\./", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        found = _MISSING.search(error.message)
        if found and error.name in ("FileNotFoundError", "OSError", "IOError"):
            path, loads = found["path"].strip(), any(_LOADS.search(frame.code) for frame in error.frames)
            saves = any("torch.save" in frame.code or "save_" in frame.function for frame in error.frames)
            if (is_weights(path) or loads) and not saves:
                return _match(_evidence(error), path, 0.95 if is_weights(path) else 0.85)
        found = _STATED.search(error.message) or _ABSENT.search(error.message)
        if found:
            return _match(_evidence(error), next(iter(part for part in found.groups() if part), ""), 0.85)
    line = log.search(_STATED.pattern)
    if line is None:
        return None
    found = _STATED.search(line.text)
    path = next((part for part in found.groups() if part), "") if found else ""
    return _match((line.evidence,), path, 0.7 if log.exceptions else 0.85)


def _evidence(error: LoggedException) -> tuple[Evidence, ...]:
    frame = error.user_frame
    return (error.evidence, *((frame.evidence,) if frame else ()))


def _match(evidence: tuple[Evidence, ...], path: str, score: float) -> LogMatch:
    if not path:
        return LogMatch(score, evidence, "The path of the checkpoint is empty.", Fix("Give the option that names it."))
    cause = f"The weights `{name_of(path)}` are not at `{path}`."
    if _PLACEHOLDER.search(path):
        return LogMatch(
            score, evidence, f"`{path}` is a placeholder.", Fix("Put the path of your own file in its place.")
        )
    relative = "" if re.match(r"^(?:[\\/~]|[A-Za-z]:)", path) else " It is relative to the folder of the start."
    return LogMatch(score, evidence, cause, Fix(f"Download `{name_of(path)}` or correct the path.{relative}"))


_LOADERS = ("torch.load", "safetensors.torch.load_file", "safetensors.safe_open", "torch.hub.load_state_dict_from_url")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls_to(*_LOADERS):
        path = call.argument(0, "f") or call.argument(0, "filename")
        if path is not None and isinstance(path.value, str) and _PLACEHOLDER.search(path.value):
            fix = Fix("Put the path of your own weights in its place, or take it from the settings.")
            yield Hit(f"{path.code} is a placeholder", path.span, fix)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    checkpoints = plan.fact("weights")
    if not checkpoints:
        raise NotApplicable("the run names no checkpoint")
    for weights in checkpoints:
        if weights.exists and not weights.problem:
            continue
        message = f"{weights.key}: {weights.path}: {weights.problem}"
        beside = f"; in that folder: {', '.join(weights.nearby)}" if weights.nearby else ""
        if not weights.exists:
            message = f"{weights.key}: there is no {weights.path}{beside}"
        yield Finding(
            "missing-checkpoint",
            Level.ERROR,
            message,
            Location(str(plan.path or "the settings"), plan.line_of(weights.key), key=weights.key),
            fix=Fix("Fetch it again." if weights.exists else f"Put it there, or correct {weights.key}."),
        )


RULE = Rule(
    slug="missing-checkpoint",
    family="weights",
    title="The checkpoint is not there",
    level=Level.ERROR,
    log=LogFacet(
        (
            "no such file",
            "no checkpoint found",
            "no file named",
            "does not exist",
            "not found",
            "is not a file",
            "is not a checkpoint",
            "not be found",
        ),
        _examine_log,
    ),
    source=SourceFacet((".load", "load_file"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("weights are loaded before the first step"),
    module=__name__,
)
