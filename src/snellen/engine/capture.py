"""A step that went wrong, kept whole so that it can be repeated: weights, batch, random numbers, and the verdict.

captures/step-N/
    model.safetensors    weights and buffers as they were before the forward pass
    batch.safetensors    tensors of the batch
    capture.json         the batch's other values, its files, position, precision, loss scale, culprit

Replay: `replay(recipe, "runs/x/captures/step-N")` runs that one forward and backward pass again and returns the
culprit. What a batch holds beside tensors, arrays, numbers, strings and containers of these is not kept; it comes back
as `None`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from snellen.core.files import write_json, writing
from snellen.engine.culprit import Culprit, find_culprit
from snellen.engine.devices import launch, local_view, moved
from snellen.engine.fabric import Fabric
from snellen.engine.recipe import Batch, Recipe
from snellen.engine.seeding import Purpose, keep_random_state, seed_all
from snellen.engine.settings import AcceleratorName, TrainSettings
from snellen.engine.store import savable
from snellen.errors import DataError, RunFolderError
from snellen.models.weights.loading import load_into

__all__ = ["Place", "blame", "pack", "replay", "save_capture", "unpack"]


@dataclass(frozen=True, slots=True)
class Place:
    """Which forward pass of a run; its random numbers follow from it.

    Args:
        seed: Of the run.
        step: Optimiser steps done before it.
        rank: The process.
        micro_batch: Which of the accumulated batches, from 0.
    """

    seed: int
    step: int
    rank: int = 0
    micro_batch: int = 0

    def seed_generators(self) -> None:
        """Seed everything that the forward pass draws from."""
        seed_all(self.seed, Purpose.STEP, self.step, self.rank, self.micro_batch)


def blame(fabric: Fabric, recipe: Recipe, module: nn.Module, batch: Batch, place: Place) -> Culprit | None:
    """Repeat one forward and backward pass on this device alone and find the first tensor that is not finite.

    The module's buffers change as in any forward pass, and its gradients are gone afterwards.

    Args:
        fabric: Launched.
        recipe: The task.
        module: On its device, without Fabric's wrappers.
        batch: What goes in.
        place: For its random numbers.
    """
    view = local_view(fabric, module)
    batch = moved(batch, fabric.device)
    place.seed_generators()
    module.zero_grad(set_to_none=True)
    try:
        return find_culprit(module, batch, lambda: recipe.training_step(view, batch), fabric.backward)
    finally:
        module.zero_grad(set_to_none=True)


def save_capture(
    folder: Path, module: nn.Module, batch: Batch, place: Place, *, culprit: Culprit | None, facts: Mapping[str, Any]
) -> Path:
    """Write a capture.

    Args:
        folder: Of the captures.
        module: Weights and buffers as they were before this forward pass.
        batch: The batch.
        place: For its random numbers.
        culprit: What was found.
        facts: Further plain data: `precision`, and `scaler` with the state of the loss scaler.

    Raises:
        RunFolderError: It cannot be written.
    """
    path = folder / f"step-{place.step}"
    tensors: dict[str, Tensor] = {}
    structure = pack(batch, "batch", tensors)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        try:
            save_file(savable(module.state_dict()), path / "model.safetensors")
            save_file(savable(tensors), path / "batch.safetensors")
        except SafetensorError as error:
            raise RunFolderError(f"cannot write {path}: {error}") from error
    record = {"place": asdict(place), "files": list(batch["files"]), "culprit": culprit, "batch": structure, **facts}
    write_json(path / "capture.json", record)
    return path


def replay(recipe: Recipe, capture: str | Path, *, accelerator: AcceleratorName = "cpu") -> Culprit | None:
    """Run a captured step again.

    Args:
        recipe: The task, perhaps mended since.
        capture: Folder of the capture.
        accelerator: Where to run; only the kind of device that the run was on gives the same numbers.

    Returns:
        The first tensor that is not finite, `None` when all are finite now.

    Raises:
        DataError: The capture is missing or torn.
        WeightsError: The model is another one.
    """
    path = Path(capture)
    try:
        record = json.loads((path / "capture.json").read_text(encoding="utf-8"))
        weights = load_file(path / "model.safetensors")
        batch = unpack(record["batch"], load_file(path / "batch.safetensors"))
        place = Place(**record["place"])
        settings = TrainSettings(accelerator=accelerator, precision=record["precision"], seed=place.seed)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(f"{path} is no readable capture: {error}") from error
    with keep_random_state():
        return launch(settings, _replay, recipe, weights, batch, place, record.get("scaler", {}))


def _replay(
    fabric: Fabric, recipe: Recipe, weights: dict[str, Tensor], batch: Batch, place: Place, scaler: Mapping[str, Any]
) -> Culprit | None:
    module = recipe.build_model()
    load_into(module, weights, source="the capture")
    fabric.to_device(module).train()
    fabric.strategy.precision.load_state_dict(dict(scaler))
    return blame(fabric, recipe, module, batch, place)


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:  # noqa: PLR0911 - one answer per kind of value
    """Plain data that describes a nested value; its tensors and arrays are put into `tensors` by path.

    Example:
        >>> tensors = {}
        >>> pack({"x": torch.zeros(2), "files": ["a.png"]}, "batch", tensors)
        {'dict': [['x', {'tensor': 'batch.x'}], ['files', {'list': [{'value': 'a.png'}]}]]}
    """
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu()
        return {"tensor": name}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        tensors[name] = torch.from_numpy(np.ascontiguousarray(value))
        return {"array": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [pack(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if isinstance(value, float):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, str)):
        return {"value": value}
    return {"lost": repr(value)[:200]}


def unpack(data: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """The value that `pack` described; what could not be kept is `None`."""
    ((kind, content),) = data.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "array":
        return tensors[content].numpy()
    if kind == "dict":
        return {key: unpack(item, tensors) for key, item in content}
    if kind in ("list", "tuple"):
        items = [unpack(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    return None if kind == "lost" else float(content) if kind == "float" else content
