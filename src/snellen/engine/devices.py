"""On what a run computes: resolving the device, and starting one process per device."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.multiprocessing.spawn import ProcessException

from snellen import errors
from snellen.engine.fabric import DDPStrategy, Fabric, SingleDeviceStrategy, Strategy
from snellen.engine.precision import resolve_precision
from snellen.engine.settings import AcceleratorName, TrainSettings
from snellen.engine.signals import forward_to_children
from snellen.errors import SnellenError, UsageError

__all__ = ["gather", "launch", "local_view", "moved", "on_rank_zero", "peak_memory", "resolve_accelerator"]

Result = TypeVar("Result")


def resolve_accelerator(wanted: AcceleratorName, *, devices: int = 1) -> str:
    """Turn `auto` into CUDA, else MPS, else CPU, and check that the devices exist.

    Raises:
        UsageError: The machine lacks them.
    """
    available = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": devices}
    found = next(name for name in ("cuda", "mps", "cpu") if available[name]) if wanted == "auto" else wanted
    if available[found] < devices:
        raise UsageError(
            f"{devices} {found} device(s) were asked for, this machine has {available[found]}",
            hint=f"set devices: {available[found]}" if available[found] else "set accelerator: cpu",
        )
    return found


def launch(settings: TrainSettings, function: Callable[..., Result], *args: Any) -> Result:
    """Run `function(fabric, *args)` on the devices of the settings; returns what rank 0 returned.

    One device runs in this process. More run in one new process each (started with `spawn`, so everything handed over
    is picklable and a script needs its `if __name__ == "__main__"`), unless `torchrun` has already started them.

    Raises:
        SnellenError: As raised by the first rank that failed.
    """
    device = resolve_accelerator(settings.accelerator, devices=settings.devices)
    plugin = resolve_precision(settings.precision, device).plugin()
    if settings.devices == 1:
        fabric = Fabric(accelerator=device, devices=1, plugins=[plugin])
        result: Result = fabric.launch(function, *args)
        return result
    external = distributed.is_torchelastic_launched()
    strategy = DDPStrategy(start_method="popen" if external else "spawn")
    fabric = Fabric(accelerator=device, devices=settings.devices, strategy=strategy, plugins=[plugin])
    if external:
        return fabric.launch(function, *args)  # type: ignore[no-any-return]
    return _spawn(fabric, function, args)


def local_view(fabric: Fabric, module: nn.Module) -> nn.Module:
    """The module as Fabric runs it on this device alone: with the precision, without waiting for other ranks."""
    strategy: Strategy = SingleDeviceStrategy(device=fabric.device)
    alone = Fabric(accelerator=fabric.device.type, strategy=strategy, plugins=[fabric.strategy.precision])
    view: nn.Module = alone.setup_module(module)
    return view


def moved(value: Any, device: torch.device) -> Any:
    """Nested lists, tuples and mappings with their tensors on a device; anything else is passed on as it is.

    Fabric's own `to_device` also looks into dataclasses, and refuses frozen ones.

    Example:
        >>> moved({"image": torch.zeros(1), "files": ["a.png"]}, torch.device("cpu"))["files"]
        ['a.png']
    """
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=device.type == "cuda")
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(moved(item, device) for item in value)
    return value


def on_rank_zero(fabric: Fabric, function: Callable[[], Result]) -> Result:
    """Run a function on rank 0 and give its result, or its `SnellenError`, to every rank."""
    if fabric.world_size == 1:
        return function()
    outcome: tuple[Result | None, SnellenError | None] = (None, None)
    if fabric.is_global_zero:
        try:
            outcome = (function(), None)
        except SnellenError as error:
            outcome = (None, error)
    result, failure = fabric.broadcast(outcome)
    if failure is not None:
        raise failure
    return result  # type: ignore[return-value]


def gather(fabric: Fabric, value: Any) -> list[Any]:
    """The value of every rank, in rank order, on every rank."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    distributed.all_gather_object(values, value)
    return values


def peak_memory(device: torch.device) -> int | None:
    """Largest number of bytes in use so far: of the device on CUDA, else of this process; `None` when unknown."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - POSIX only

    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _spawn(fabric: Fabric, function: Callable[..., Result], args: tuple[Any, ...]) -> Result:
    with tempfile.TemporaryDirectory(prefix="snellen-") as failures, _same_port(), forward_to_children():
        try:
            parcel = fabric.launch(_OnRank(failures, function, args))
        except ProcessException as error:
            first = _first_failure(Path(failures))
            if first is None:
                raise
            raise first from error
        return parcel.content  # type: ignore[no-any-return]


class _Parcel:
    """Hides a result from Fabric, which looks into dataclasses for tensors and refuses frozen ones."""

    def __init__(self, content: Any) -> None:
        self.content = content


class _OnRank:
    """What a new process runs; its arguments are hidden in it for the same reason."""

    def __init__(self, failures: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._failures = failures
        self._function = function
        self._args = args

    def __call__(self, fabric: Fabric) -> _Parcel:
        try:
            parcel = _Parcel(self._function(fabric, *self._args))
            fabric.barrier()
            return parcel
        except SnellenError as error:
            record = {
                "time": time.time(),
                "kind": type(error).__name__,
                "message": error.message,
                "hint": error.hint,
                "slug": error.slug,
            }
            (Path(self._failures) / f"{fabric.global_rank}.json").write_text(json.dumps(record), encoding="utf-8")
            raise
        finally:
            # Threads of a process group that is still there when the interpreter ends now and then abort the process.
            gc.collect()
            distributed.destroy_process_group()


def _first_failure(folder: Path) -> SnellenError | None:
    records = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    if not records:
        return None
    first = min(records, key=lambda record: float(record["time"]))
    kind: type[SnellenError] = getattr(errors, first["kind"])
    return kind(first["message"], hint=first["hint"], slug=first["slug"])


@contextlib.contextmanager
def _same_port() -> Iterator[None]:
    # Fabric leaves the port of the process group in the environment, where the next run would find it.
    former = os.environ.get("MASTER_PORT")
    try:
        yield
    finally:
        if former is None:
            os.environ.pop("MASTER_PORT", None)
