"""One forward pass, module by module: shapes in and out, dtype, parameters, activation memory and operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.nn.parameter import is_lazy

from snellen.errors import SnellenError
from snellen.trace.contents import tensors_in
from snellen.trace.fake import fake_tensors, give_weights, settle_lazy
from snellen.trace.recorder import Recorder
from snellen.trace.shapes import shapes_only
from snellen.trace.timeline import Category

__all__ = ["ModuleRow", "TraceError", "Traced", "trace"]


class TraceError(SnellenError):
    """A forward pass that did not end: what the module was given, and what it said."""

    exit_code = 1


@dataclass(slots=True)
class ModuleRow:
    """One call of one module.

    Args:
        name: Dotted path, `""` for the model itself.
        kind: Class.
        inputs: Shapes of the tensors given to it.
        outputs: Shapes of the tensors that it gives.
        dtype: Of its first output.
        parameters: Numbers in its own parameters and those of its parts.
        activation_bytes: Memory that its operators made and the backward pass keeps, parts included.
        flops: Floating-point operations, parts included; one multiply-add counts as two.
    """

    name: str
    kind: str
    inputs: tuple[tuple[int, ...], ...] = ()
    outputs: tuple[tuple[int, ...], ...] = ()
    dtype: str = ""
    parameters: int = 0
    activation_bytes: int = 0
    flops: int = 0

    @property
    def depth(self) -> int:
        """How many modules it lies in."""
        return self.name.count(".") + bool(self.name)


@dataclass(slots=True)
class Traced:
    """What a forward pass showed.

    Args:
        rows: In the order in which modules were entered.
        parameters: Numbers in all parameters.
        parameter_bytes: Their memory.
        activation_bytes: Memory kept for the backward pass, at the end of the forward pass.
        flops: Of the forward pass.
        problem: Why it did not end, `""` when it did; the rows up to there are kept.
        failed_in: The innermost module that was entered and not left.
    """

    rows: list[ModuleRow] = field(default_factory=list)
    parameters: int = 0
    parameter_bytes: int = 0
    activation_bytes: int = 0
    flops: int = 0
    problem: str = ""
    failed_in: ModuleRow | None = None


def trace(model: nn.Module, inputs: Sequence[Any], *, train: bool = True, device: str = "cpu") -> Traced:
    """Send tensors without numbers through a model.

    Args:
        model: Its weights are replaced by ones without memory.
        inputs: Shapes of the tensors to give it, or values given as they are; a list of shapes is given as a list.
        train: Whether the model is in training mode and activations are kept for a backward pass.
        device: Where weights and inputs stand; without numbers any device can be had on any machine.

    Example:
        >>> traced = trace(nn.Linear(4, 2), [(1, 4)])
        >>> traced.rows[0].outputs, traced.flops
        (((1, 2),), 16)
    """
    model.train(train)
    with suppress(Exception):  # what it says of its input is heard in the pass that counts
        settle_lazy(model, lambda: model(*(_tensor(item, "cpu") for item in inputs)))
    if device == "cpu":
        found = _through(model, inputs, train, "meta")
        if not found.problem:
            return found
    # What stopped may be the meta device itself; fake tensors say it as real ones would.
    return _through(model, inputs, train, device)


def _through(model: nn.Module, inputs: Sequence[Any], train: bool, device: str) -> Traced:
    found = Traced()
    recorder = Recorder()
    with shapes_only() if device == "meta" else fake_tensors(), recorder:
        give_weights(model, device=device)
        weights = _shaped(model)
        found.parameters = sum(one.numel() for one in weights)
        found.parameter_bytes = sum(one.numel() * one.element_size() for one in weights)
        recorder.follow(weights, Category.PARAMETERS)
        recorder.follow(model.buffers(), Category.BUFFERS)
        open_rows: list[_Open] = []
        undo = _watch(model, recorder, found, open_rows)
        try:
            given = [_tensor(item, device) for item in inputs]
            recorder.follow(tensors_in(given), Category.INPUTS)
            recorder.phase = Category.ACTIVATIONS
            with torch.set_grad_enabled(train):
                outputs = model(*given)
            found.activation_bytes = recorder.alive_bytes(Category.ACTIVATIONS)
            del outputs
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            found.problem = f"what follows depends on values, not on shapes: {_first_line(error)}"
        except Exception as error:  # noqa: BLE001 - whatever the model raises is the answer
            found.problem = f"{type(error).__name__}: {_first_line(error)}"
        finally:
            undo()
    found.failed_in = open_rows[-1][0] if found.problem and open_rows else None
    found.flops = recorder.timeline.flops
    return found


_Open = tuple[ModuleRow, int, int]
"""A module that was entered, with operations and bytes counted until then."""


def _watch(model: nn.Module, recorder: Recorder, found: Traced, open_rows: list[_Open]) -> Callable[[], None]:
    handles = []

    def entering(name: str) -> Any:
        def enter(module: nn.Module, given: Any) -> None:
            row = ModuleRow(name, type(module).__name__, _shapes(given))
            row.parameters = sum(one.numel() for one in _shaped(module))
            found.rows.append(row)
            open_rows.append((row, recorder.timeline.flops, recorder.alive_bytes(Category.ACTIVATIONS)))

        return enter

    def leave(module: nn.Module, given: Any, result: Any) -> None:  # noqa: ARG001 - the signature of a hook
        row, flops, alive = open_rows.pop()
        row.outputs = _shapes(result)
        tensors = list(tensors_in(result))
        row.dtype = str(tensors[0].dtype).removeprefix("torch.") if tensors else ""
        row.flops = recorder.timeline.flops - flops
        row.activation_bytes = max(0, recorder.alive_bytes(Category.ACTIVATIONS) - alive)

    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(entering(name)))
        handles.append(module.register_forward_hook(leave))

    def undo() -> None:
        for handle in handles:
            handle.remove()

    return undo


def _shaped(module: nn.Module) -> list[Tensor]:
    """Its parameters, without those that wait for their first input."""
    given: list[Any] = list(module.parameters())
    return [one for one in given if not is_lazy(one)]


def _tensor(item: Any, device: str) -> Any:
    if isinstance(item, tuple) and all(isinstance(side, int) for side in item):
        return torch.empty(item, device=device)
    return [_tensor(part, device) for part in item] if isinstance(item, list) else item


def _shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(item.shape) for item in tensors_in(value))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").partition("\n")[0][:300]
