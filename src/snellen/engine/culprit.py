"""Where a NaN or an infinity first appears: one more forward and backward pass with every module watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from snellen.engine.recipe import Batch, StepOutput

__all__ = ["Culprit", "find_culprit", "named_tensors"]


@dataclass(frozen=True, slots=True)
class Culprit:
    """The first tensor that is not finite.

    Args:
        stage: `weights` and `batch` (bad before anything was computed), `forward`, `loss`, `backward`.
        module: Dotted name and class of the module that made it, for example `head.log (Log)`.
        tensor: Which of its tensors.
        shape: Of that tensor.
        bad: How many of its values are not finite.
        value: `nan` or `inf`.
    """

    stage: Literal["weights", "batch", "forward", "loss", "backward"]
    module: str
    tensor: str
    shape: tuple[int, ...]
    bad: int
    value: Literal["nan", "inf"]

    def __str__(self) -> str:
        size = " x ".join(str(side) for side in self.shape) or "scalar"
        values = "1 value is" if self.bad == 1 else f"{self.bad} values are"
        return f"{self.tensor} of {self.module} ({self.stage}): {values} {self.value}, shape {size}"


def find_culprit(
    module: nn.Module, batch: Batch, step: Callable[[], StepOutput], backward: Callable[[Tensor], None]
) -> Culprit | None:
    """Repeat a step and name the first tensor that is not finite, `None` when all are this time.

    Args:
        module: Whose parts are watched.
        batch: What goes in, on its device.
        step: Runs the forward pass on it.
        backward: Runs the backward pass from the loss.
    """
    names = {part: f"{name or 'the model'} ({type(part).__name__})" for name, part in module.named_modules()}
    found = _first_bad("weights", "the model", module.state_dict()) or _first_bad("batch", "the batch", batch)
    if found is not None:
        return found
    forward: list[Culprit] = []
    gradients: list[tuple[str, Culprit | None]] = []
    hooked: dict[int, Tensor] = {}

    def watch(part: nn.Module, _inputs: Any, output: Any) -> None:
        bad = _first_bad("forward", names[part], output, "output")
        if bad is not None:
            forward.append(bad)
        for name, tensor in named_tensors(output, "output"):
            # A container often returns the very tensor of its last part, which is the better name.
            if tensor.requires_grad and id(tensor) not in hooked:
                hooked[id(tensor)] = tensor
                tensor.register_hook(partial(_note_gradient, gradients, names[part], name))  # type: ignore[no-untyped-call]

    handles = [part.register_forward_hook(watch) for part in names]
    try:
        output = step()
        bad = forward[0] if forward else _first_bad("loss", "training_step", output.loss, "loss")
        if bad is not None:
            return bad
        backward(output.loss)
    finally:
        for handle in handles:
            handle.remove()
    return _first_bad_gradient(gradients) or _first_bad_parameter_gradient(module)


def named_tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested lists, tuples and mappings, with its path."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from named_tensors(item, f"{name}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from named_tensors(item, f"{name}[{index}]")


def _first_bad(
    stage: Literal["weights", "batch", "forward", "loss", "backward"], module: str, value: Any, name: str = ""
) -> Culprit | None:
    for path, tensor in named_tensors(value, name):
        if (tensor.is_floating_point() or tensor.is_complex()) and not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            kind: Literal["nan", "inf"] = "nan" if torch.isnan(tensor).any() else "inf"
            return Culprit(stage, module, path, tuple(tensor.shape), bad, kind)
    return None


def _note_gradient(seen: list[tuple[str, Culprit | None]], module: str, name: str, gradient: Tensor) -> None:
    seen.append((module, _first_bad("backward", module, gradient, f"gradient at the {name}")))


def _first_bad_gradient(seen: list[tuple[str, Culprit | None]]) -> Culprit | None:
    """The bad gradient that arrived first, charged to the module it came out of: the last one that got a good one."""
    source = "the loss"
    for module, bad in seen:
        if bad is not None:
            tensor = f"{bad.tensor} of {bad.module}, which came out of the backward pass"
            return Culprit("backward", source, tensor, bad.shape, bad.bad, bad.value)
        source = module
    return None


def _first_bad_parameter_gradient(module: nn.Module) -> Culprit | None:
    for name, parameter in reversed(list(module.named_parameters())):
        owner = module.get_submodule(name.rpartition(".")[0])
        title = f"{name.rpartition('.')[0] or 'the model'} ({type(owner).__name__})"
        bad = _first_bad("backward", title, parameter.grad, f"gradient of the parameter {name!r}")
        if bad is not None:
            return bad
    return None
