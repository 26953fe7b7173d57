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
A file that is there and cannot be read is `corrupt-checkpoint` or `weights-only-load`. A file of the data
set is `missing-file`. A name of a model hub that cannot be reached is a network problem.

Sources
-------
- `torch.load`: https://docs.pytorch.org/docs/stable/generated/torch.load.html
- Saving and loading models: https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from snellen.core.checkpoints import named_weights
from snellen.core.file_kinds import is_weights, name_of, nearest
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.logs.messages import narrowed
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


_TRIGGERS = (
    *("no such file", "no checkpoint found", "no file named", "does not exist", "not found", "is not a file"),
    *(
        "is not a checkpoint",
        "not be found",
        "not exist",
        "does not appear to have",
        "nonetype",
        "isadirectoryerror",
        "assertionerror",
    ),
)
_MISSING = re.compile(r"No such file or directory:?\s*['\"]?(?P<path>[^'\"\n]*)")
_GONE = (
    r"(?:does not ex\w{2,6}|doesn't exist|not found|is not a file|is not a checkpoint file|can ?not be found|not exist)"
)
_STATED = re.compile(
    r"no (?:checkpoint|weights|pretrained model) found (?:at|in) ['\"]?(?P<path>[^'\"\s]*)"
    r"|Error no file named .{0,200} found in directory (?P<folder>[^\s.]+)"
    r"|(?<![^\s'\"])(?P<repository>[^\s'\"]{1,200}) does not appear to have a file named "
    r"(?:pytorch_model|model|tf_model|flax_model|diffusion_pytorch_model)[\w.\-]{0,40}\.(?:bin|safetensors|h5|msgpack)"
    rf"|(?:checkpoint|weights)(?: (?:file|path|at|folder))? ['\"]?(?P<named>[^'\"\s]{{0,300}}?)['\"]? ?{_GONE}",
    re.IGNORECASE,
)
_ABSENT = re.compile(
    r"(?<![^\s'\"])(?P<path>[^\s'\"]{1,300}\.(?:pth\.tar|pth|pt|ckpt|safetensors|bin|onnx|weights))['\"]?:? "
    rf"\(?(?:file )?{_GONE}",
    re.IGNORECASE,
)
_NOT_GIVEN = re.compile(r"'NoneType' object has no attribute '(?:seek|read|endswith|readline)'")
_ASSERTS = re.compile(
    r"assert (?:os\.path\.(?:isfile|exists|isdir)\(|Path\()?[\w.\[\]'\"]{0,80}"
    r"(?:ckpt|check_?point|weights|pretrained|model_?path)",
    re.IGNORECASE,
)
_LOADS = re.compile(r"torch\.load\(|load_file\(|load_checkpoint\(|safe_open\(|load_state_dict\(|load_from_checkpoint\(")
_PLACEHOLDER = re.compile(r"path/to|/path|XXX|your[_-]|<|\.\.\./", re.IGNORECASE)
_BARE_LINE = re.compile(rf"{_MISSING.pattern}['\"]?\s*$")


def _examine_log(log: Log) -> LogMatch | None:
    log = narrowed(log, _TRIGGERS)
    for error in log.exceptions:
        match = _of_error(error)
        if match is not None:
            return match
    for line in () if log.exceptions else log.find(_BARE_LINE.pattern):
        found = _BARE_LINE.search(line.text)
        if found and is_weights(found["path"]):
            return _match((line.evidence,), found["path"].strip(), 0.8)
    stated = log.search(_STATED.pattern)
    if stated is None:
        return None
    found = _STATED.search(stated.text)
    path = next((part for part in found.groups() if part), "") if found else ""
    return _match((stated.evidence,), path, 0.7 if log.exceptions else 0.85, said=stated.text.strip())


def _of_error(error: LoggedException) -> LogMatch | None:
    loads = any(_LOADS.search(frame.code) for frame in error.frames)
    saves = any("torch.save" in frame.code or "save_" in frame.function for frame in error.frames)
    found = _MISSING.search(error.message)
    if found and error.name in ("FileNotFoundError", "OSError", "IOError"):
        path = found["path"].strip()
        if (is_weights(path) or loads) and not saves:
            return _match(_evidence(error), path, 0.95 if is_weights(path) else 0.85)
    found = _STATED.search(error.message) or _ABSENT.search(error.message)
    if found and not saves:
        path = next((part for part in found.groups() if part), "")
        return _match(_evidence(error), path, 0.85, said=error.message)
    if loads and error.name == "AttributeError" and _NOT_GIVEN.search(error.message):
        cause = "The path of the checkpoint is None: the option that names it was not given."
        return LogMatch(0.85, _evidence(error), cause, Fix("Give the option that names the checkpoint."))
    if loads and error.name == "IsADirectoryError":
        path = error.message.rpartition(":")[2].strip(" '")
        cause = f"`{path}` is a folder, not a file."
        return LogMatch(0.85, _evidence(error), cause, Fix(f"Name the file in it: `ls {path}` lists them."))
    last = error.frames[-1].code if error.frames else ""
    if error.name == "AssertionError" and _ASSERTS.search(last):
        return _match(_evidence(error), error.message if is_weights(error.message) else "", 0.8, said=last)
    return None


def _evidence(error: LoggedException) -> tuple[Evidence, ...]:
    frame = error.user_frame
    return (error.evidence, *((frame.evidence,) if frame else ()))


def _match(evidence: tuple[Evidence, ...], path: str, score: float, *, said: str = "") -> LogMatch:
    if not path and said:
        fix = Fix("Print that path: it is relative to the folder of the start. Download the file, or correct it.")
        return LogMatch(score, evidence, f"Nothing is where the program looks for weights: `{said[:200]}`.", fix)
    if not path:
        return LogMatch(score, evidence, "The path of the checkpoint is empty.", Fix("Give the option that names it."))
    cause = f"The weights `{name_of(path)}` are not at `{path}`."
    if _PLACEHOLDER.search(path):
        return LogMatch(
            score, evidence, f"`{path}` is a placeholder.", Fix("Put the path of your own file in its place.")
        )
    relative = "" if re.match(r"^(?:[\\/~]|[A-Za-z]:)", path) else " It is relative to the folder of the start."
    return LogMatch(score, evidence, cause, Fix(f"Download `{name_of(path)}` or correct the path.{relative}"))


def _probe(log: Log, here: Here) -> Answer:
    match = _examine_log(log)
    words = " ".join(fact.text for fact in match.evidence) if match is not None else ""
    found = next((found["path"].strip() for pattern in (_MISSING, _ABSENT) if (found := pattern.search(words))), "")
    names = [found, *named_weights(log)] if found else list(named_weights(log))
    if not names:
        return Answer(Outcome.CANNOT_TELL, "the log does not name the file")
    path = here.root / Path(names[0]).expanduser()
    if path.exists():
        return Answer(Outcome.REFUTED, f"{path} is there")
    beside = [entry.name for entry in _entries(path.parent) if is_weights(entry.name)]
    close = nearest(path.name, beside)
    hint = f"; beside it lies {close}" if close else ""
    return Answer(Outcome.CONFIRMED, f"there is no {path}{hint}")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:1000]
    except OSError:
        return []


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
        if weights.exists:
            continue
        beside = f"; in that folder: {', '.join(weights.nearby)}" if weights.nearby else ""
        yield Finding(
            "missing-checkpoint",
            Level.ERROR,
            f"{weights.key}: there is no {weights.path}{beside}",
            setting_place(plan, weights.key),
            fix=Fix(f"Put it there, or correct {weights.key}."),
        )


RULE = Rule(
    slug="missing-checkpoint",
    family="weights",
    title="The checkpoint is not there",
    level=Level.ERROR,
    log=LogFacet(_TRIGGERS, _examine_log, _probe),
    source=SourceFacet((".load", "load_file", "load("), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("weights are loaded before the first step"),
    module=__name__,
)
