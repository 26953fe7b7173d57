"""The disk, or the quota on it, is full while the run writes.

What happens
------------
`OSError: [Errno 28] No space left on device` from a log, a cache or an unpacked data set; `[Errno 122] Disk quota
exceeded` on a cluster; `[WinError 112] There is not enough space on the disk`. `torch.save` hides it behind
`PytorchStreamWriter failed writing file data/176: file write failed` and `unexpected pos 190007680 vs 190007572`. The
checkpoint that was being written is cut off and cannot be loaded.

Why
---
One checkpoint with the state of Adam is three times the size of the weights, and a new one every epoch adds up. The
hub's cache in the home folder, `/tmp`, Docker layers and a notebook's output folder (20 GB on Kaggle) fill up unseen. A
disk can also run out of inodes (files) while it still has bytes, and a quota counts for a person, not for the disk.

How to confirm
--------------
`df -h FOLDER` and `df -i FOLDER` for the folder that is written to, `quota -s` on a cluster, `du -sh ~/.cache/*` for
what lies in caches.

Fix
---
Delete or move old checkpoints and keep only the last and the best; write to a larger disk; move caches with `HF_HOME`,
`TORCH_HOME`, `TMPDIR` and `PIP_CACHE_DIR`. Start again from the checkpoint before the one that was cut off. Write a
checkpoint under another name first and rename it, so that a full disk never costs the good one.

When it is something else
-------------------------
`No space left on device` for `/dev/shm` or a file `/torch_...` is shared memory: `shm-too-small`. `inotify watch limit
reached` has the same number 28 and is a limit of the kernel. A checkpoint that is found cut off later is
`corrupt-checkpoint`.

Sources
-------
- `errno`: https://docs.python.org/3/library/errno.html#errno.ENOSPC
- Hugging Face, where the cache lies: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
- `torch.hub`, where downloads lie: https://docs.pytorch.org/docs/stable/hub.html#where-are-my-downloaded-models-saved
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snellen.core.facts.machine import MachineFacts
from snellen.core.facts.memory import CheckpointFacts
from snellen.core.facts.places import PlaceFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, FactUnavailable, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_FULL = re.compile(
    r"No space left on device|Errno 28\]|StorageFull|not enough space on the disk|WinError 112\]|os error 28\b"
    r"|database or disk is full|There is not enough (?:free )?(?:disk )?space|not enough free disk space",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"Disk quota exceeded|Errno 122\]|Quota exceeded|os error 122\b", re.IGNORECASE)
_CUT = re.compile(
    r"PytorchStreamWriter failed writing file (?P<file>[^\s:]{1,200}): file write failed"
    r"|inline_container\.cc:?\d{0,6}\]? ?\.? ?unexpected pos (?P<wrote>\d{1,18}) vs \d"
    r"|\b(?P<requested>\d{1,18}) requested and (?P<written>\d{1,18}) written"
)
_STREAM = re.compile(
    r"basic_ios::clear: iostream error|write\(\): fd \d{1,6} failed with (?:No space|Input/output error)"
)
_LATER = re.compile(r"\bunexpected pos (?P<wrote>\d{1,18}) vs \d")
_SHARED_MEMORY = re.compile(
    r"/dev/shm|shared memory|\bshm\b|</?torch_\d|torch_\d+_\d+|multiprocessing[/\\](?:synchronize|heap)|SemLock"  # noqa: S108 - searched for
    r"|unable to write to file",
    re.IGNORECASE,
)
_SHARED_FULL = re.compile(r"out of shared memory|insufficient shared memory|killed by signal: Bus error", re.IGNORECASE)
_INOTIFY = re.compile(r"inotify", re.IGNORECASE)
_PATH = re.compile(
    r"(?:No space left on device|quota exceeded|WinError 112\][^:\n]{0,80}): ?b?['\"](?P<path>[^'\"\n]{1,400})['\"]",
    re.IGNORECASE,
)
_SAVES = re.compile(
    r"torch\.save\(|save_checkpoint|save_model|save_pretrained|save_file\(|\.save\(|SummaryWriter|save_state",
    re.IGNORECASE,
)
_PLACES = (
    (
        re.compile(r"^/kaggle/working"),
        "Kaggle keeps 20 GB in /kaggle/working: write what need not be kept to /kaggle/tmp.",
    ),
    (
        re.compile(r"\.cache[/\\]huggingface|HF_HOME"),
        "The hub's cache lies there: `hf cache ls` and `hf cache prune`, or move it with `HF_HOME`.",
    ),
    (
        re.compile(r"\.cache[/\\]torch"),
        "PyTorch's cache lies there: delete old weights in it, or move it with `TORCH_HOME`.",
    ),
    (
        re.compile(r"torchinductor|\.triton[/\\]"),
        "The compiler's cache lies there: move it with `TORCHINDUCTOR_CACHE_DIR` and `TRITON_CACHE_DIR`.",
    ),
    (
        re.compile(r"[/\\]wandb[/\\]|\.cache[/\\]wandb"),
        "`wandb artifact cache cleanup 1GB`, or move it with `WANDB_CACHE_DIR` and `WANDB_DIR`.",
    ),
    (
        re.compile(r"^/tmp|[/\\]Temp[/\\]|[/\\]tmp[\w]{6,10}"),
        "Temporary files lie there: free it, or set `TMPDIR` to a larger disk.",
    ),
)
_PIP = re.compile(r"Could not install packages due to an (?:OSError|EnvironmentError)")
_SMALL, _TINY = 2 << 30, 128 << 20


def _examine(log: Log) -> LogMatch | None:
    for pattern, score in ((_FULL, 0.97), (_QUOTA, 0.97), (_CUT, 0.86), (_STREAM, 0.7)):
        said = find_message(log, pattern)
        if said is None:
            continue
        about = f"{said.evidence.text} {said.error.text if said.error else ''}"
        if _SHARED_MEMORY.search(f"{about} {' '.join(f.path for f in said.error.frames) if said.error else ''}"):
            return None
        if _INOTIFY.search(about) or log.search(_SHARED_FULL.pattern):
            return None
        return _match(log, said, score, quota=pattern is _QUOTA)
    return None


def _match(log: Log, said: Message, score: float, *, quota: bool) -> LogMatch:
    path = _written(log)
    saving = _SAVES.search(said.code) is not None or said.match.re in (_CUT, _STREAM)
    what = "the checkpoint" if saving else "a file"
    where = f" at `{path}`" if path else said.place
    full = "your quota on the disk is used up" if quota else "the disk is full"
    cause = f"While {what} was written{where}, {full}{_progress(log, said)}."
    advice = next((text for pattern, text in _PLACES if path and pattern.search(path)), "")
    if log.search(_PIP.pattern):
        advice = "`pip cache purge`, and `TMPDIR=FOLDER pip install --no-cache-dir ...` with a folder on a larger disk."
    elif not advice and saving:
        advice = "Keep the last and the best checkpoint only, and remove the one that was being written: it is cut off."
    elif not advice:
        advice = "Free space, or write to another disk."
    folder = re.split(r"[/\\][^/\\]*$", path)[0] if re.search(r"[/\\]", path) else "."
    look = f"`df -h {folder or '/'}`" if not quota else "`quota -s` (or the cluster's own command)"
    return LogMatch(score, said.facts, cause, Fix(f"Look with {look}. {advice}"))


def _written(log: Log) -> str:
    for error in log.exceptions:
        if found := _PATH.search(error.message):
            return found["path"]
    line = log.search(_PATH.pattern)
    found = _PATH.search(line.text) if line is not None else None
    return found["path"] if found else ""


def _progress(log: Log, said: Message) -> str:
    """How far the file came, when torch says so."""
    parts = said.match.groupdict()
    later = log.search(_LATER.pattern)
    found = _LATER.search(later.text) if later is not None else None
    wrote = parts.get("wrote") or (found["wrote"] if found else None)
    if wrote:
        count = int(wrote)
        return f" after {count / 2**20:.0f} MiB" if count >= 2**20 else f" after {count} bytes"
    if parts.get("requested"):
        return f": {parts['written']} of {parts['requested']} values were written"
    return ""


def _probe(log: Log, here: Here) -> Answer:
    path = Path(_written(log) or here.root)
    folder = path if path.is_absolute() else here.root / path
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return Answer(Outcome.CANNOT_TELL, f"{folder}: {error.strerror}")
    text = f"{usage.free / 2**30:.2f} GiB of {usage.total / 2**30:.0f} GiB are free in {folder}"
    if find_message(log, _QUOTA):
        return Answer(Outcome.CANNOT_TELL, f"{text}; a quota cannot be asked for here")
    return Answer(Outcome.CONFIRMED if usage.free < _TINY else Outcome.REFUTED, text)


_FEW_FILES = 1000
_PLENTY = 200 << 30
"""More than the checkpoints of any vision model take: their size, which takes seconds to work out, is not asked for."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    free = machine.disk_free_bytes
    if free is None:
        raise NotApplicable(f"the free disk space of {machine.name} is not known")
    output = plan.settings.get("output", "runs")
    place = setting_place(plan, "output")
    kept: CheckpointFacts | None = _optional(plan, "checkpoint_bytes") if free < _PLENTY else None
    if kept is not None and free < kept.most:
        message = (
            f"{kept.kept} checkpoints to go on from and of the best weights, and the one that is being written, take "
            f"{_gib(kept.most)}; {_gib(free)} are free where the run writes ({output})"
        )
        yield Finding("disk-full", Level.ERROR, message, place, fix=_ROOM)
    elif kept is None and free < _SMALL:
        message = f"{_gib(free)} are free where the run writes ({output}): checkpoints may not fit"
        yield Finding("disk-full", Level.ERROR if free < _TINY else Level.WARNING, message, place, fix=_ROOM)
    for one in _optional(plan, "places") or ():
        yield from _of_place(one, machine)


_ROOM = Fix("Free some space, or give `output` a folder on a larger disk.")


def _of_place(place: PlaceFacts, machine: MachineFacts) -> Iterator[Finding]:
    if place.free_files is not None and place.free_files < _FEW_FILES:
        message = f"{place.nearest} has room for {place.free_files} more files, whatever their size"
        yield Finding(
            "disk-full", Level.WARNING, message, fix=Fix("Remove small files.", command=f"df -i {place.nearest}")
        )
    if place.key == "TMPDIR" and place.free_bytes is not None and place.free_bytes < _TINY:
        message = f"{_gib(place.free_bytes)} are free for temporary files ({place.path})"
        yield Finding("disk-full", Level.WARNING, message, fix=Fix("Set TMPDIR to a folder on a larger disk."))
    if place.quota_bytes is not None and place.quota_bytes < _SMALL:
        message = f"your quota leaves {_gib(place.quota_bytes)} in {place.nearest}"
        level = Level.ERROR if place.quota_bytes < _TINY else Level.WARNING
        yield Finding("disk-full", level, message, fix=Fix("Remove what is not needed.", command="quota -s"))
    limit = machine.limits.file_size
    if place.key == "output" and limit is not None and limit < _SMALL:
        message = f"no file may grow over {_gib(limit)} (ulimit -f): a checkpoint that is larger ends the process"
        yield Finding(
            "disk-full", Level.WARNING, message, fix=Fix("`ulimit -f unlimited`.", command="ulimit -f unlimited")
        )


def _optional(plan: Plan, name: str) -> Any:
    try:
        return plan.fact(name)
    except FactUnavailable:
        return None


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


RULE = Rule(
    slug="disk-full",
    family="environment",
    title="The disk is full",
    level=Level.ERROR,
    log=LogFacet(
        (
            "no space left",
            "errno 28",
            "os error 28",
            "storagefull",
            "not enough",
            "winerror 112",
            "disk is full",
            "quota exceeded",
            "errno 122",
            "pytorchstreamwriter",
            "unexpected pos",
            "requested and",
            "iostream error",
            "write(): fd",
        ),
        _examine,
        _probe,
    ),
    source=absent("how much a program writes and where is decided when it runs"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("a step does not tell how much disk is left"),
    module=__name__,
)
