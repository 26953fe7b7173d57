"""Models and tensors that have shapes and no numbers, so that a step of any size can be gone through on any machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parameter import is_lazy

from snellen.trace.shapes import shapes_only

_TELLS = logging.getLogger("torch._subclasses.fake_tensor")

__all__ = ["build_without_weights", "fake_tensors", "give_weights", "settle_lazy"]


@contextmanager
def fake_tensors() -> Iterator[None]:
    """Every tensor that is made inside has a shape, a dtype and a device, and no memory."""
    # torch logs the traceback of each operator that refuses its shapes, which for us is an answer and no accident.
    before = _TELLS.level
    _TELLS.setLevel(logging.CRITICAL)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        _TELLS.setLevel(before)


def build_without_weights(build: Callable[[], nn.Module]) -> nn.Module:
    """A model on the meta device: nothing is allocated and nothing is drawn at random.

    Args:
        build: Makes the model. One that cannot be made on the meta device, because it reads numbers out of tensors, is
            made on the CPU.
    """
    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError):
        return build()


def settle_lazy(model: nn.Module, run: Callable[[], object]) -> None:
    """Let modules that take the shape of their weights from their first input see one; nothing else is done.

    Args:
        model: Whose weights may have no shape yet.
        run: A forward pass, called only where there are such weights.
    """
    lazy = [one for one in (*model.parameters(), *model.buffers()) if is_lazy(one)]
    if lazy:
        with torch.no_grad(), shapes_only() if lazy[0].data.is_meta else nullcontext():
            run()


def give_weights(model: nn.Module, *, device: str = "cpu", dtype: torch.dtype | None = None) -> nn.Module:
    """Replace all parameters and buffers by new tensors on a device; inside `fake_tensors` they take no memory.

    Args:
        model: Changed in place; weights that are tied stay tied.
        device: Where the new tensors are.
        dtype: For floating-point parameters, as they are by default.
    """
    done: dict[int, Tensor] = {}

    def new(old: Tensor) -> Tensor:
        wanted = dtype if dtype is not None and old.is_floating_point() else old.dtype
        return torch.empty_like(old, dtype=wanted, device=device, requires_grad=False)

    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and not is_lazy(parameter):
                if id(parameter) not in done:
                    done[id(parameter)] = nn.Parameter(new(parameter.data), requires_grad=parameter.requires_grad)
                module._parameters[name] = done[id(parameter)]  # type: ignore[assignment]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None and not is_lazy(buffer):
                module._buffers[name] = done.setdefault(id(buffer), new(buffer))
    return model
