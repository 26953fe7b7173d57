"""Records every block of memory that operators make and give back, on fake tensors or on real ones.

A storage is followed from the operator that made it to the moment when Python and autograd have let go of it, so that
lifetimes are those of the real step. What a kernel allocates and gives back inside itself is not seen; whoever knows
may tell the recorder.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from snellen.trace.timeline import Allocation, Category, Event, Timeline

__all__ = ["Recorder"]

_VIEWS = frozenset(
    f"aten.{name}"
    for name in ("view", "_unsafe_view", "expand", "permute", "transpose", "t", "detach", "alias", "select", "slice",
                 "unsqueeze", "squeeze", "split", "unbind", "as_strided", "empty")
)  # fmt: skip
"""Operators that move no data."""


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_backward(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    shapes = (one.shape for one in (gradient, query, key, value))
    return int(sdpa_backward_flop_count(*shapes))  # type: ignore[no-untyped-call]


_OF_CPU: Mapping[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""Operations of what PyTorch's own table leaves out: the CPU's kernels for attention, as those of CUDA."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that fills a timeline.

    Use it around the steps; `phase` says what new blocks are for until it is set again.

    Args:
        inside: Bytes that an operator holds beyond what it returns, by its name, arguments and result.

    Example:
        >>> import torch
        >>> recorder = Recorder()
        >>> with recorder:
        ...     x = torch.zeros(4, 4)
        ...     y = x + x
        ...     del y
        >>> recorder.timeline.peak
        128
    """

    def __init__(self, inside: Callable[[str, tuple[Any, ...], Any], int] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inside = inside
        self.timeline = Timeline()
        self.phase = Category.INPUTS
        self._alive: dict[int, int] = {}
        self._alive_bytes: Counter[Category] = Counter()
        self._modules: list[str] = []
        self._closed = False

    def close(self) -> None:
        """The timeline is complete: what is let go of from now on is none of it."""
        self._closed = True

    def follow(self, tensors: Iterable[Tensor], category: Category) -> None:
        """Say what tensors are for; those that were there before the recording are counted from now on."""
        for tensor in tensors:
            number = self._number(tensor)
            if number is None:
                self._made(tensor, category, "")
            else:
                block = self.timeline.allocations[number]
                self._alive_bytes[block.category] -= block.size
                self._alive_bytes[category] += block.size
                block.category = category

    def alive_bytes(self, category: Category) -> int:
        """Bytes alive now that were made for something."""
        return self._alive_bytes[category]

    def watch_modules(self, model: nn.Module) -> Callable[[], None]:
        """Remember in which module an operator runs; returns what undoes that."""
        handles = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(self._entering(name)))
            handles.append(module.register_forward_hook(self._leaving, always_call=True))

        def undo() -> None:
            for handle in handles:
                handle.remove()

        return undo

    def _entering(self, name: str) -> Callable[[nn.Module, Any], None]:
        def enter(module: nn.Module, given: Any) -> None:  # noqa: ARG001 - the signature of a hook
            self._modules.append(name)

        return enter

    def _leaving(self, module: nn.Module, given: Any, result: Any) -> None:  # noqa: ARG002 - the signature of a hook
        if self._modules:
            self._modules.pop()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator and look at what it made."""
        result = func(*args, **(kwargs or {}))
        name = str(func)
        made = [item for item in tree_iter(result) if isinstance(item, Tensor)]
        for tensor in made:
            if self._number(tensor) is None:
                self._made(tensor, self.phase, name)
        self._count(func, name, args, kwargs or {}, result, made)
        held = self._inside(name, args, result) if self._inside is not None else 0
        if held:
            self._hold(held, name)
        return result

    def _hold(self, size: int, operation: str) -> None:
        """A block that is made and given back within an operator."""
        number = len(self.timeline.allocations)
        module = self._modules[-1] if self._modules else ""
        self.timeline.allocations.append(Allocation(size, self.phase, module, operation, (size,), "uint8", inside=True))
        self.timeline.events += [Event(number, made=True), Event(number, made=False)]

    def _count(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any, made: list[Tensor]
    ) -> None:
        packet = getattr(func, "_overloadpacket", None)
        formula = _OF_CPU.get(packet) or flop_registry.get(packet)
        flops = int(formula(*args, **kwargs, out_val=result)) if formula is not None else 0
        self.timeline.flops += flops
        if name.rpartition(".")[0] not in _VIEWS:
            read = sum(_bytes(item) for item in tree_iter((args, kwargs)) if isinstance(item, Tensor))
            moved = read + sum(map(_bytes, made))
            self.timeline.operators.append((flops, moved))
            if name.startswith("aten.convolution"):
                self.timeline.convolution = max(self.timeline.convolution, moved)

    def _number(self, tensor: Tensor) -> int | None:
        return self._alive.get(tensor.untyped_storage()._cdata)

    def _made(self, tensor: Tensor, category: Category, operation: str) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        number = len(self.timeline.allocations)
        module = self._modules[-1] if self._modules else ""
        dtype = str(tensor.dtype).removeprefix("torch.")
        self.timeline.allocations.append(Allocation(size, category, module, operation, tuple(tensor.shape), dtype))
        self.timeline.events.append(Event(number, made=True))
        self._alive[key] = number
        self._alive_bytes[category] += size
        weakref.finalize(storage, self._gone, key, number).atexit = False

    def _gone(self, key: int, number: int) -> None:
        if self._closed:
            return
        # The address may have been given to a new storage already.
        if self._alive.get(key) == number:
            del self._alive[key]
        block = self.timeline.allocations[number]
        self._alive_bytes[block.category] -= block.size
        self.timeline.events.append(Event(number, made=False))


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
