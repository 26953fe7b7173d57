"""The last stage of a rehearsal: weights as safetensors, the graph through `torch.export`.

Nothing here reads or writes ONNX, so no run can fail by it, and its exporter takes minutes for a large network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from snellen.engine.recipe import Batch, Recipe
from snellen.engine.store import savable
from snellen.errors import ContractError
from snellen.models.weights.loading import load_into
from snellen.rehearsal.failing import Several, failure_of

__all__ = ["export_all"]


class _Captured(Exception):  # noqa: N818 - the way out of a forward pass whose inputs are known
    """Carries the inputs of the model."""


def export_all(recipe: Recipe, module: nn.Module, batch: Batch, folder: Path) -> str:
    """Export, and say what was exported.

    Args:
        recipe: Calls the model as it is called in evaluation.
        module: The model.
        batch: Of one sample.
        folder: Where the files go.

    Raises:
        Several: What could not be exported: the weights are an error, the graph a warning, for nothing asks for it.
    """
    done, failures = [], []
    try:
        path = folder / "export.safetensors"
        save_file(savable(module.state_dict()), path)
        load_into(module, load_file(path), source=str(path))
        done.append("safetensors")
    except Exception as error:  # noqa: BLE001 - the graph is tried all the same
        failures.append(failure_of(error, about="safetensors"))
    module.eval()
    try:
        arguments, named = _inputs(recipe, module, batch)
        with torch.no_grad():
            torch.export.export(module, arguments, named, strict=False)
        done.append("torch.export")
    except Exception as error:  # noqa: BLE001 - the outcome of the stage
        failures.append(failure_of(error, level="warning", about="torch.export"))
    if failures:
        raise Several(failures)
    return f"exported: {', '.join(done)}"


def _inputs(recipe: Recipe, module: nn.Module, batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the model is called with in evaluation."""
    seen: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def capture(_module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append((arguments, named))
        raise _Captured

    handle = module.register_forward_pre_hook(capture, with_kwargs=True)
    try:
        with torch.no_grad():
            recipe.evaluation_step(module, batch)
    except _Captured:
        pass
    finally:
        handle.remove()
    if not seen:
        raise ContractError("evaluation_step does not call the model itself, so what it takes is unknown")
    return seen[0]
