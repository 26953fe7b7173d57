"""A process has as many files open as it may have, and the loader needs one more.

What happens
------------
`RuntimeError: Too many open files. Communication with the workers is no longer possible`, `OSError: [Errno 24] Too
many open files`, or, from inside `multiprocessing`, the riddle `RuntimeError: received 0 items of ancdata`. It comes
after the same number of batches every time.

Why
---
On Linux every tensor that a worker hands over is a shared-memory file, and the training process holds one descriptor
for it as long as the tensor lives. A list that keeps the batches of an epoch (`all_labels.append(labels)`) keeps
all their descriptors; `labels.numpy()` is the same memory and keeps them, too. The default limit is 1024 for a
process. Files that a data set opens and never closes, for example one `Image.open` for each sample, count as well.

How to confirm
--------------
`ulimit -n`, and while it runs `ls /proc/PID/fd | wc -l`: the number grows with every batch. With `num_workers=0` it
does not.

Fix
---
Keep copies: `all_labels.append(labels.clone())`. Raise the limit with `ulimit -n 65536`, or call
`torch.multiprocessing.set_sharing_strategy("file_system")` before the loader starts. Open files with `with`.

When it is something else
-------------------------
`[Errno 24] inotify instance limit reached` is a limit of its own (`fs.inotify.max_user_instances`). `No space left on
device` from shared memory is `shm-too-small`.

Sources
-------
- PyTorch, sharing strategies: https://docs.pytorch.org/docs/stable/multiprocessing.html#sharing-strategies
- Python, `resource.RLIMIT_NOFILE`: https://docs.python.org/3/library/resource.html#resource.RLIMIT_NOFILE
- Pillow, lifecycle of image files: https://pillow.readthedocs.io/en/stable/reference/open_files.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.loaders import behind, loader_behind, loaders
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message, in_loader
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, SourceFile

__all__ = ["RULE"]


_ANCDATA = re.compile(r"received 0 items of ancdata", re.IGNORECASE)
_COMMUNICATION = re.compile(r"Too many open files\. Communication with the\s+workers", re.IGNORECASE)
_SHARED = re.compile(
    r"unable to (?:open shared memory object|mmap)[^\n]{0,160}(?:Too many open files|\(24\))", re.IGNORECASE
)
_UNNAMED = re.compile(
    r"unable to open shared memory object </?torch_[\w]{1,60}> in read-write mode(?!:)", re.IGNORECASE
)
_ERRNO = re.compile(r"\[Errno 2[34]\] Too many open files|OSError: Too many open files", re.IGNORECASE)
_PIPES = re.compile(r"multiprocessing|torch[\\/](?:utils[\\/]data|multiprocessing)")


def _examine_log(log: Log) -> LogMatch | None:
    for pattern, score in ((_COMMUNICATION, 0.97), (_ANCDATA, 0.96), (_SHARED, 0.96), (_ERRNO, 0.92), (_UNNAMED, 0.75)):
        found = find_message(log, pattern)
        if found is not None:
            opened = found.error is not None and found.error.frames and not _through_pipes(found.error.frames[-1].path)
            by_user = bool(opened) and pattern is _ERRNO and not (found.error and in_loader(found.error))
            return LogMatch(score, found.facts, _cause(by_user), _fix(by_user))
    return None


def _through_pipes(path: str) -> bool:
    return bool(_PIPES.search(path))


def _cause(by_user: bool) -> str:
    if by_user:
        return "The process reached its limit of open files: files are opened faster than they are closed."
    return (
        "The process reached its limit of open files: every tensor that came from a loader worker holds one as long "
        "as it lives."
    )


def _fix(by_user: bool) -> Fix:
    first = "Open files with `with`, so that they are closed" if by_user else "Keep copies of batches (`.clone()`)"
    return Fix(
        f'{first}. Raise the limit: `ulimit -n 65536`, or `torch.multiprocessing.set_sharing_strategy("file_system")` '
        "at the beginning of the program.",
        command="ulimit -n 65536",
    )


_LITTLE, _PLENTY = 1024, 65536


def _probe(_log: Log, _here: Here) -> Answer:
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return Answer(Outcome.CANNOT_TELL, "this system has no such limit to ask for")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"a process may have {soft} files open here ({hard} when it asks)"
    if soft <= _LITTLE:
        return Answer(Outcome.CONFIRMED, text)
    return Answer(Outcome.REFUTED if soft >= _PLENTY else Outcome.CANNOT_TELL, text)


_SAME_MEMORY = frozenset(
    {
        "[]",
        "view",
        "reshape",
        "squeeze",
        "unsqueeze",
        "flatten",
        "permute",
        "transpose",
        "detach",
        "numpy",
        "contiguous",
    }
)
"""What leaves a batch in the memory that it came in."""
_OPENERS = {"PIL.Image.open": "load()"} | dict.fromkeys(
    (
        *("h5py.File", "open", "rasterio.open", "zipfile.ZipFile", "tifffile.TiffFile", "cv2.VideoCapture"),
        *("decord.VideoReader", "numpy.memmap", "safetensors.safe_open"),
    ),
    "close()",
)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    if "set_sharing_strategy" not in file.text:
        yield from _kept_batches(file)
    yield from _kept_files(file)


def _kept_batches(file: SourceFile) -> Iterator[Hit]:
    """`kept.append(labels)` where labels came out of a loader with workers as they are."""
    parallel = {loader.call.span: loader for loader in loaders(file, project=False) if loader.workers}
    if not parallel:
        return
    for call in file.calls_to(".append"):
        argument = call.arguments[0] if call.arguments else None
        if argument is None or not call.in_loop or call.receiver is None:
            continue
        maker = loader_behind(argument.origin)
        loader = parallel.get(maker.span) if maker is not None else None
        if loader is None or not _as_it_came(argument) or _emptied(file, call):
            continue
        message = (
            f"`{call.receiver}` keeps `{argument.code}` of every batch, and with num_workers={loader.workers} each one "
            "holds an open file"
        )
        fix = Fix(
            f"Keep a copy: `{argument.code}.clone()`.",
            FixSafety.UNSAFE,
            "what is kept may be no tensor",
            edits=(file.edit(argument.span, f"{argument.code}.clone()"),),
        )
        yield Hit(message, argument.span, fix, (loader.evidence,), Level.WARNING)


def _as_it_came(argument: Argument) -> bool:
    origin = behind(argument.origin)
    steps = origin.through if origin is not None else ()
    return bool(steps) and set(steps) <= _SAME_MEMORY and re.fullmatch(r"[A-Za-z_]\w*", argument.code) is not None


def _emptied(file: SourceFile, call: CallSite) -> bool:
    """Whether the list is made anew, or emptied, within the same loop."""
    inner = file.loops_around(call.span)[-1].span if file.loops_around(call.span) else None
    if inner is None:
        return False
    anew = any(a.target == call.receiver and inner.contains(a.span) for a in file.assignments)
    return anew or any(c.receiver == call.receiver and c.method in ("clear", "pop", "popleft") for c in file.calls)


def _kept_files(file: SourceFile) -> Iterator[Hit]:
    """A list of opened files, one for each sample."""
    for item in file.assignments:
        for name, closing in _OPENERS.items() if item.code[:1] in "[{" and _kept(item.target) else ():
            call = next((c for c in file.calls_in(item.span) if c.name == name), None)
            if call is not None and re.match(rf"(?:\[|\{{[^:]{{1,60}}:)\s*{re.escape(call.code)}\s+for\b", item.code):
                yield _open_hit(call, item.target, closing)
    for call in file.calls_to(".append"):
        argument = call.arguments[0] if call.arguments else None
        opener = argument.origin if argument is not None else None
        if argument is None or opener is None or opener.through or opener.name not in _OPENERS or not call.in_loop:
            continue
        if call.receiver is not None and _kept(call.receiver) and opener.call.code == argument.code:
            yield _open_hit(opener.call, call.receiver, _OPENERS[opener.name])


def _kept(target: str) -> bool:
    """Whether a list lives as long as its object; one of a function may be closed item by item."""
    return target.startswith("self.")


def _open_hit(call: CallSite, target: str, closing: str) -> Hit:
    message = f"`{target}` keeps a file open for each sample"
    what = f"`{call.code}.copy()` reads the pixels and lets go of the file; or k" if closing == "load()" else "K"
    fix = Fix(f"{what}eep the paths and open each file where it is read, inside `with`.")
    return Hit(message, call.span, fix, level=Level.WARNING)


_OF_ITSELF, _OF_A_WORKER = 64, 16
"""Measured: torch 2.13 holds 6 open files, and 9 more for each worker of a loader with four tensors in a batch."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    limit = machine.limits.open_files
    if not machine.here or limit is None:
        raise NotApplicable(f"{machine.name} sets no limit of open files that is known")
    data = plan.settings.get("data")
    workers = data.get("workers", "auto") if isinstance(data, dict) else "auto"
    if not isinstance(workers, int):
        workers = min(8, max(0, (machine.cpus or 1) - 1))
    need = _OF_ITSELF + _OF_A_WORKER * workers
    if limit >= need:
        return
    most = machine.limits.most_open_files
    may = most is None or most >= need
    raised = f"`ulimit -n {min(most or 65536, 65536)}` before the start" if may else "Ask for a higher limit"
    yield Finding(
        "too-many-open-files",
        Level.WARNING,
        f"a process may open {limit} files, and {workers} workers with their batches take about {need}",
        fix=Fix(f"{raised}, or fewer workers.", command=f"ulimit -n {min(most or 65536, 65536)}" if may else None),
    )


RULE = Rule(
    slug="too-many-open-files",
    family="data",
    title="Too many files are open",
    level=Level.ERROR,
    log=LogFacet(("too many open files", "ancdata", "shared memory object"), _examine_log, _probe),
    source=SourceFacet(("DataLoader", "open(", "File(", "memmap", "VideoCapture", "VideoReader"), _examine_source),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("steps do not count open files"),
    module=__name__,
)
