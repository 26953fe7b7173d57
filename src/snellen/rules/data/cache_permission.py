"""The folder for the cache or the results may not be written to.

What happens
------------
`PermissionError: [Errno 13] Permission denied: '/.cache'` or, on a data set that is mounted for reading,
`OSError: [Errno 30] Read-only file system: '/kaggle/input/...'`, when a folder is made, an index is written beside
the images, or weights are fetched into the cache of a hub.

Why
---
In a container without a home folder `~/.cache` is `/.cache`, which only root may make. Settings that were written on
another machine name absolute folders (`/data`, `/mnt/...`) that belong to nobody here. Data sets on Kaggle, in shared
storage or in a Docker volume are read-only, and a loader that keeps its index beside the images cannot write it.
A folder that root made once (by `sudo` or in a container) stays closed to its user.

How to confirm
--------------
`ls -ld FOLDER` and `id`: who owns it, and who runs the program. `touch FOLDER/test` fails in the same way.

Fix
---
Point the output at a folder of your own; move caches by `TORCH_HOME`, `HF_HOME` or `XDG_CACHE_HOME`. A folder that
root made: `sudo chown -R $USER FOLDER`. On Kaggle write below `/kaggle/working`.

When it is something else
-------------------------
On Windows, `Permission denied` for a folder means that a folder was opened as if it were a file, and `WinError 32` that
another program has the file open. A program that may not be executed (`bash: ./train.sh: Permission denied`) needs
`chmod +x`. A disk that is full says `No space left on device`.

Sources
-------
- `PermissionError`: https://docs.python.org/3/library/exceptions.html#PermissionError
- Hugging Face, moving the cache: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
- `torch.hub`, where weights are kept: https://docs.pytorch.org/docs/stable/hub.html#where-are-my-downloaded-models-saved
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from snellen.core.facts.places import PlaceFacts
from snellen.core.file_kinds import is_image
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Frame, Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_PATH = r"b?['\"]?(?P<path>(?:[A-Za-z]:[\\/]|[~/.\w])[^'\"\n]{0,300}?)['\"]?\s*(?:->|$|\n|\))"
_DENIED = re.compile(
    r"\[Errno (?:13|30)\] (?:Permission denied|Read-only file system): " + _PATH, re.IGNORECASE | re.MULTILINE
)
_WINDOWS = re.compile(r"\[WinError 5\] [^:\n]{1,80}: " + _PATH, re.IGNORECASE | re.MULTILINE)
_HDF5 = re.compile(
    r"name = '(?P<path>[^'\n]{1,300})', errno = (?:13|30)\b|lmdb\.\w{0,40}Error: (?P<lmdb>[^:\n]{1,300}): "
    r"(?:Permission denied|Read-only file system)"
)
_SHELL = re.compile(
    r"mkdir: (?:cannot|can't) create directory[ :]+['\u2018`\"]?(?P<path>[^'\u2019`\"\n]{1,300}?)['\u2019`\"]?: "
    r"(?:Permission denied|Read-only file system)",
    re.IGNORECASE,
)
_STATED = re.compile(
    r"There was a problem when trying to write in your cache folder \((?P<path>[^)\n]{1,300})\)"
    r"|PermissionError at (?P<at>/[^\s]{1,300}) when downloading|Cache directory (?P<cache>[^\n]{1,300}?) is not writ",
    re.IGNORECASE,
)
_SAVED = re.compile(r"^File (?P<path>[^\n]{1,300}) cannot be opened\.?$")
_WRITES = re.compile(
    r"\b(?:makedirs|mkdir|mkdtemp|symlink|rename|replace|copyfile|copy2?|move|touch|unlink|remove|rmtree|save\w*|dump"
    r"|to_csv|savez?|imwrite|SummaryWriter|FileHandler|download\w*|urlretrieve|mkstemp|lock\w*|FileLock|chmod)\("
    r"|,\s*(?:mode\s*=\s*)?['\"][wax]b?\+?b?['\"]|open\([^)\n]{0,200}['\"][wax]b?\+?['\"]",
    re.IGNORECASE,
)
_READS = re.compile(r"Image\.open|imread|open\([^)\n]{0,200}['\"]rb?['\"]|read_image|np\.load\(|torch\.load\(|read_csv")
_OTHER = re.compile(r"SemLock|\bbind\(|Popen|_execute_child|subprocess|docker\.sock|/dev/(?!shm)|/proc/|/sys/|\.so\b")
_CACHE = re.compile(
    r"cache|hub|runs?\b|output|results?|logs?\b|work_dirs?|checkpoints?|experiments?|save|wandb", re.IGNORECASE
)


def _examine(log: Log) -> LogMatch | None:
    for pattern, score in ((_STATED, 0.9), (_HDF5, 0.85), (_SHELL, 0.9)):
        found = find_message(log, pattern)
        if found is not None and not (pattern is _STATED and found.match["cache"] and log.exceptions):
            path = next(part for part in found.match.groups() if part)
            return _match(found, path, 0.55 if pattern is _STATED and found.match["cache"] else score)
    denied = find_message(log, _DENIED) or find_message(log, _WINDOWS)
    if denied is not None:
        return _denied(denied, denied.match["path"].strip())
    saved = next((e for e in log.exceptions if e.name == "RuntimeError" and _SAVED.match(e.message)), None)
    if saved is not None and any("serialization.py" in frame.path for frame in saved.frames):
        found = find_message(log, re.compile(r"File (?P<path>[^\n]{1,300}) cannot be opened"))
        return _match(found, found.match["path"], 0.75) if found else None
    return None


def _denied(found: Message, path: str) -> LogMatch | None:
    frames = found.error.frames if found.error is not None else ()
    last = " ".join(frame.code for frame in frames[-3:])
    if _OTHER.search(f"{last} {path}") or path.lower().endswith((".exe", ".dll", ".so", ".sh")):
        return None
    writes = any(_writes(frame) for frame in frames[-4:])
    reads = bool(frames) and not writes and bool(_READS.search(last))
    windows = re.match(r"[A-Za-z]:[\\/]", path) is not None
    if reads and (windows or is_image(path)):
        # A folder opened as a file, or data that may not be read: no cache and no output.
        return None
    score = 0.95 if writes else 0.6 if reads else 0.75 if windows else 0.85
    if not frames and is_image(path):
        score = 0.55
    return _match(found, path, score)


def _writes(frame: Frame) -> bool:
    return bool(_WRITES.search(frame.code)) or frame.function in ("makedirs", "mkdir", "_mkdir", "symlink", "rename")


def _match(found: Message, path: str, score: float) -> LogMatch:
    kind = (
        "is on a file system that is read-only" if "ead-only" in found.match[0] else "may not be written by this user"
    )
    cause = f"`{path}` {kind}."
    return LogMatch(score, found.facts, cause, _fix(path))


_VARIABLES = (
    (re.compile(r"huggingface|transformers|datasets|diffusers", re.IGNORECASE), "HF_HOME"),
    (re.compile(r"torch_extensions", re.IGNORECASE), "TORCH_EXTENSIONS_DIR"),
    (re.compile(r"torchinductor", re.IGNORECASE), "TORCHINDUCTOR_CACHE_DIR"),
    (re.compile(r"triton", re.IGNORECASE), "TRITON_CACHE_DIR"),
    (re.compile(r"cache[\\/]torch|torch[\\/]hub|[\\/]\.torch\b", re.IGNORECASE), "TORCH_HOME"),
    (re.compile(r"matplotlib", re.IGNORECASE), "MPLCONFIGDIR"),
    (re.compile(r"ultralytics|yolov?\d?[\\/]", re.IGNORECASE), "YOLO_CONFIG_DIR"),
    (re.compile(r"wandb", re.IGNORECASE), "WANDB_DIR"),
    (re.compile(r"[\\/]\.cache\b", re.IGNORECASE), "XDG_CACHE_HOME"),
)


def _fix(path: str) -> Fix:
    variable = next((name for pattern, name in _VARIABLES if pattern.search(path)), None)
    if path.startswith("/kaggle/input"):
        return Fix("Kaggle's inputs are read-only: write below /kaggle/working, or copy the data set there first.")
    if variable is not None:
        home = " In a container without a home folder, set HOME as well." if path.startswith("/.") else ""
        return Fix(
            f"Point {variable} at a folder that this user may write to, before Python starts.{home}",
            command=f"export {variable}=/tmp/cache",
        )
    parts = [part for part in re.split(r"[\\/]", path) if part]
    if path.startswith("/") and len(parts) == 1:
        text = f"`{path}` stands at the root of the disk, where only root makes folders: set the output or cache folder"
        return Fix(f"{text} of the settings to one of your own, for example ./{parts[0]}.")
    what = "cache" if re.search("cache", path, re.IGNORECASE) else "output or cache"
    return Fix(
        f"Set the {what} folder to one of your own, or take `{path}` over: `sudo chown -R $USER {path}`.",
        command=f"ls -ld {path}" if re.fullmatch(r"[\w./~-]{1,200}", path) else None,
    )


def _probe(log: Log, here: Here) -> Answer:
    match = _examine(log)
    named = re.match(r"`(?P<path>[^`]{1,300})`", match.cause) if match is not None else None
    path = named["path"] if named else ""
    if not path or (re.match(r"[A-Za-z]:[\\/]", path) and os.name != "nt"):
        return Answer(Outcome.CANNOT_TELL, f"{path or 'the path'} is none of this system")
    place = Path(path).expanduser()
    place = place if place.is_absolute() else here.root / place
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
    except OSError as error:
        return Answer(Outcome.CONFIRMED, f"{place}: {error.strerror}")
    if os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
        return Answer(Outcome.REFUTED, f"{place} may be written to here")
    return Answer(Outcome.CONFIRMED, f"{place} may not be written to by this user")


_NEEDED = frozenset({"output", "TMPDIR"})
"""What no run can do without; a cache is a matter of what the run fetches."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    for place in plan.fact("places"):
        if (place.answers and place.writable) or not _matters(plan, place):
            continue
        named = place.key if place.key != "output" else "the output folder"
        yield Finding(
            "cache-permission",
            Level.ERROR if place.key in _NEEDED else Level.WARNING,
            f"{named} ({place.path}) cannot be written to: {place.problem[:1].lower()}{place.problem[1:]}",
            setting_place(plan, "output") if place.key == "output" else None,
            fix=_instead(place),
        )


def _matters(plan: Plan, place: PlaceFacts) -> bool:
    """A cache matters to a run that fetches something, and where there is no run yet."""
    if place.key in _NEEDED or not plan.settings:
        return True
    try:
        plan.fact("hub")
    except NotApplicable:
        return False
    return True


def _instead(place: PlaceFacts) -> Fix:
    if not place.answers:
        return Fix(f"Mount {place.mount or place.path} again, or choose another folder.", command="mount | grep -w nfs")
    if place.key == "output":
        return Fix("Give `output` a folder that this user may write to.", command=f"ls -ld {place.nearest}")
    folder = "/kaggle/working/cache" if place.path.startswith("/kaggle") else "FOLDER"
    return Fix(f"Point {place.key} at a folder that this user may write to.", command=f"export {place.key}={folder}")


RULE = Rule(
    slug="cache-permission",
    family="data",
    title="A cache or output folder may not be written to",
    level=Level.ERROR,
    log=LogFacet(
        (
            *("permission denied", "read-only file system", "winerror 5", "errno = 13", "errno = 30"),
            *("cannot be opened", "your cache folder", "when downloading", "cache directory"),
        ),
        _examine,
        _probe,
    ),
    source=absent("only the machine tells who may write where"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("folders are made before the first step"),
    module=__name__,
)
