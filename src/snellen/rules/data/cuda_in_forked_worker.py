"""A forked process uses CUDA after its parent has.

What happens
------------
`RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the
'spawn' start method`, at the first batch, as soon as `num_workers` is above 0. Old versions of PyTorch print `cuda
runtime error (3) : initialization error`.

Why
---
The driver's state belongs to the process that initialised CUDA and does not survive a `fork`. Loader workers are
forked from the training process, which has put the model on the GPU by then. A data set, a transform or a collate
function that touches CUDA (`image.cuda()`, `.to(device)`, a tensor that was made on the GPU in `__init__`, an encoder
that runs there) fails in the worker.

How to confirm
--------------
The traceback of the worker names the line that asks for CUDA. With `num_workers=0` it runs.

Fix
---
Return tensors on the CPU from the data set and move the whole batch in the training loop:
`images = images.to(device, non_blocking=True)`, with `pin_memory=True` in the loader. An encoder belongs into the loop
as well, or run it once beforehand and store what it gives. Where a worker really must use the GPU:
`multiprocessing_context="spawn"`.

When it is something else
-------------------------
`cannot pin 'torch.cuda.FloatTensor'` is the same mistake without workers: the data set returns tensors that are on
the GPU already. An initialization error in a program without workers is the driver's.

Sources
-------
- PyTorch, multiprocessing and CUDA: https://docs.pytorch.org/docs/stable/notes/multiprocessing.html#cuda-in-multiprocessing
- PyTorch, `DataLoader`, returning CUDA tensors: https://docs.pytorch.org/docs/stable/data.html#multi-process-data-loading
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.loaders import Loader, dataset_classes, in_workers, loaders, parallel_loader, spawns
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message, in_loader
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, ClassBlock, FunctionBlock, Hit, SourceFile

__all__ = ["RULE"]


_STATED = re.compile(r"Cannot re-initialize (?:CUDA|XPU|MTIA|NPU|MUSA) in forked subprocess", re.IGNORECASE)
_OLD = re.compile(
    r"cuda runtime error \(3\) ?: initialization error|error=3 ?: initialization error"
    r"|CUDA (?:driver )?error:? ?\(?3?\)?:? initialization error",
    re.IGNORECASE,
)
_MOVES = re.compile(
    r"[\w.\[\]\"']{1,60}\.(?:cuda\(\)|to\([^()]{0,60}\))|device\s*=\s*[\w.\"':]{1,40}|torch\.cuda\.\w{1,40}"
)


def _examine_log(log: Log) -> LogMatch | None:
    found = find_message(log, _STATED)
    if found is not None:
        return _match(log, found, 0.98)
    found = find_message(log, _OLD)
    if found is None:
        return None
    worker = log.search(r"DataLoader worker|_worker_loop|forked|multiprocessing") is not None
    return _match(log, found, 0.93 if worker else 0.8)


def _match(log: Log, found: Message, score: float) -> LogMatch:
    frame = found.frame
    moved = _MOVES.search(frame.code) if frame is not None and not frame.in_library else None
    loading = log.search(r"DataLoader|dataloader\.py|data_loader|__getitem__|_worker_loop") is not None
    where = f"`{moved[0]}` in `{frame.function}`" if moved and frame is not None else "code"
    who = "a loader worker" if loading or (found.error is not None and in_loader(found.error)) else "a forked process"
    subject = where if moved else "Code"
    cause = f"{subject} runs in {who}, whose parent has used CUDA already: its state does not survive a fork."
    if who == "a loader worker":
        what = (
            f"Take {where} out of the data set"
            if moved
            else "Keep the data set, its transforms and collate_fn on the CPU"
        )
        fix = Fix(f"{what} and move each batch in the training loop: `x = x.to(device, non_blocking=True)`.")
    else:
        fix = Fix(
            'Start processes with "spawn": `torch.multiprocessing.set_start_method("spawn")` under the main guard; or '
            "use CUDA only after all of them are started."
        )
    return LogMatch(score, found.facts, cause, fix)


_CUDA = re.compile(r"['\"]cuda(?::\d+)?['\"]")
_MAKERS = ("zeros", "ones", "empty", "full", "rand", "randn", "tensor", "as_tensor", "arange", "eye", "randint")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    found = [(f"`{block.name}`", parallel_loader(file, block.name), call) for block, call in _in_datasets(file)]
    found += [(f"`{name}`", loader, call) for name, loader, call in _in_collate(file)]
    if not found or spawns(file):
        return
    seen = set()
    for who, loader, call in found:
        if loader is not None and call.span not in seen:
            seen.add(call.span)
            yield _hit(file, call, who, loader)


def _in_datasets(file: SourceFile) -> Iterator[tuple[ClassBlock, CallSite]]:
    for block in dataset_classes(file):
        methods = in_workers(file, block)
        yield from ((block, call) for call in _cuda_calls(file, methods))
        yield from ((block, call) for call in _held(file, block, methods))


def _in_collate(file: SourceFile) -> Iterator[tuple[str, Loader, CallSite]]:
    """CUDA in functions that loaders call in their workers to put a batch together."""
    using = {function.name.rpartition(".")[2]: function for function in file.functions}
    calls = {name: tuple(_cuda_calls(file, (function,))) for name, function in using.items()}
    if not any(calls.values()):
        return
    elsewhere = any(found and "collat" in name for name, found in calls.items())
    for loader in loaders(file, project=elsewhere):
        given = loader.argument("collate_fn")
        if loader.parallel and given is not None:
            yield from ((given.code, loader, call) for call in calls.get(given.code.rpartition(".")[2], ()))


def _cuda_calls(file: SourceFile, functions: tuple[FunctionBlock, ...]) -> Iterator[CallSite]:
    for function in functions:
        for call in file.calls_in(function.span):
            if _uses_cuda(file, call) and not any("is_available" in test for test in call.conditions[-1:]):
                yield call


def _uses_cuda(file: SourceFile, call: CallSite) -> bool:
    if call.method == "cuda" and call.receiver is not None and len(call.arguments) <= 2:
        return True
    if call.method == "to" and call.receiver is not None and call.arguments:
        return any(_is_cuda(file, a.code, a.value, a.origin) for a in call.arguments)
    if call.name.startswith("torch.cuda.") and call.method in (
        "synchronize",
        "empty_cache",
        "set_device",
        "FloatTensor",
    ):
        return True
    if call.name.startswith("torch.") and call.method in _MAKERS:
        device = call.argument(99, "device")
        return device is not None and _is_cuda(file, device.code, device.value, device.origin)
    return False


def _is_cuda(file: SourceFile, code: str, value: object, origin: object) -> bool:
    if isinstance(value, str):
        return value.startswith("cuda")
    made = getattr(origin, "name", "")
    if made == "torch.device":
        return bool(_CUDA.search(origin.call.code))  # type: ignore[attr-defined]
    if _CUDA.search(code):
        return True
    # `device = "cuda" if torch.cuda.is_available() else "cpu"`, here or as an attribute of the data set.
    return any(a.target == code and _CUDA.search(a.code) for a in file.assignments)


def _held(file: SourceFile, block: ClassBlock, methods: tuple[FunctionBlock, ...]) -> Iterator[CallSite]:
    """What `__init__` puts on the GPU and a method that runs in the worker uses."""
    made = [f for f in file.functions if f.name == f"{block.name}.__init__"]
    for function in made:
        for item in file.assignments:
            if not function.span.contains(item.span) or not item.target.startswith("self."):
                continue
            used = any(re.search(rf"{re.escape(item.target)}\b", method.code) for method in methods)
            call = item.call
            if used and call is not None and _uses_cuda(file, call):
                yield call


def _hit(file: SourceFile, call: CallSite, who: str, loader: Loader) -> Hit:
    workers = f"num_workers={loader.workers}" if loader.workers else "workers"
    message = f"`{call.code}` uses CUDA in {who}, which runs in forked workers of a loader with {workers}"
    text = "Keep it on the CPU here and move the whole batch in the training loop"
    if call.method in ("cuda", "to") and call.receiver is not None and "dtype" not in call.code:
        fix = Fix(
            f"{text}: write `{call.receiver}`.",
            FixSafety.UNSAFE,
            "the batch has to be moved to the device in the training loop instead",
            edits=(file.edit(call.span, call.receiver),),
        )
    else:
        fix = Fix(f"{text}.")
    return Hit(message, call.span, fix, (loader.evidence,))


RULE = Rule(
    slug="cuda-in-forked-worker",
    family="data",
    title="A loader worker uses CUDA",
    level=Level.ERROR,
    log=LogFacet(("forked subprocess", "initialization error"), _examine_log),
    source=SourceFacet(("cuda",), _examine_source),
    before=absent("the engine's data sets stay on the CPU"),
    during=absent("the worker fails before its batch reaches a step"),
    module=__name__,
)
