"""Batches from loader processes, handed over in memory that is used again.

A tensor that a loader process sends otherwise lies in shared memory made for it alone: the system clears every page of
it, both processes map it, and all of it is given back a moment later. For large batches that takes several times as
long as copying them. Nor is this memory bounded by `/dev/shm`, which is 64 MB in many containers.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snellen.data.cache.memory import MemoryFile
from snellen.errors import RunFolderError

__all__ = ["Handed", "Lender", "forget_ended"]

_ALIGNED: Final = 64
_HEADER: Final = _ALIGNED
"""The first byte is 1 while the batch is in use; only the loader sets it, only the receiver clears it."""
_MOST_SLOTS: Final = 16
"""Batches of one loader that are in use at once; further ones go the way that torch sends them."""
_SMALLEST: Final = 1 << 16
"""Bytes of a batch for which this is worth it."""
_PLAIN: Final = "biufc"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an array of the batch lies.

    Args:
        begin: Offset in the memory.
        shape: Of the array.
        dtype: Of the array; numpy's name, or torch's type when it was a tensor.
    """

    begin: int
    shape: tuple[int, ...]
    dtype: str | torch.dtype


class Lender:
    """The side of a loader process: puts batches into memory and takes it back when nobody looks at them any more.

    Example:
        >>> lender = Lender()
        >>> lender.hand({"label": 3, "files": ["a.png"]})
        {'label': 3, 'files': ['a.png']}
    """

    def __init__(self) -> None:
        self._slots: list[_Slot] = []
        self._works = True

    def hand(self, batch: Any) -> Any:
        """What to send in place of a batch: a `Handed`, or the batch itself where it is small or there is no memory."""
        size = _size(batch)
        if size < _SMALLEST or not self._works:
            return batch
        try:
            slot = self._slot(_HEADER + size)
        except (RunFolderError, OSError):
            self._works = False
            return batch
        if slot is None:
            return batch
        left = _changed(batch, _Filler(slot).placed)
        slot.memory[0] = 1
        return Handed(_Address(os.getpid(), slot.number, slot.token, slot.file.where), left)

    def _slot(self, size: int) -> _Slot | None:
        free = [slot for slot in self._slots if not slot.memory[0]]
        fitting = [slot for slot in free if slot.size >= size]
        if fitting:
            return min(fitting, key=lambda slot: slot.size)
        if not free and len(self._slots) >= _MOST_SLOTS:
            return None
        made = _Slot(size, free[0].number if free else len(self._slots))
        self._slots[made.number : made.number + 1] = [made]
        return made


class _Slot:
    """Memory for one batch at a time."""

    def __init__(self, size: int, number: int) -> None:
        self.number = number
        self.size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        self.file = MemoryFile(self.size)
        if self.file.path is not None:
            self.file.close()
            raise RunFolderError("there is no memory without a name here, and a file on a disk would be slower")
        self.memory = mmap.mmap(self.file.handle, self.size)
        # Numbers of processes come again; this does not.
        self.token = secrets.token_bytes(16)


class _Filler:
    """Copies the arrays of a batch into a slot and leaves their places in the batch."""

    def __init__(self, slot: _Slot) -> None:
        self._slot, self._at = slot, _HEADER

    def placed(self, value: Any) -> Any:
        """The place in the slot that an array was copied to; anything else as it is."""
        if _is_tensor(value):
            begin = self._reserve(value.numel() * value.element_size())
            into = torch.frombuffer(self._slot.memory, dtype=value.dtype, count=value.numel(), offset=begin)
            into.view(value.shape).copy_(value)
            return _Place(begin, tuple(value.shape), value.dtype)
        if _is_array(value):
            begin = self._reserve(value.nbytes)
            np.ndarray(value.shape, value.dtype, self._slot.memory, begin)[...] = value
            return _Place(begin, value.shape, value.dtype.str)
        return value

    def _reserve(self, size: int) -> int:
        begin = self._at
        self._at += _aligned(size)
        return begin


@dataclass(frozen=True, slots=True)
class _Address:
    """Which memory a batch lies in.

    Args:
        pid: The loader.
        slot: Number of the slot there.
        token: Tells this memory from what was or will be the same slot of the same process.
        where: What it is opened by.
    """

    pid: int
    slot: int
    token: bytes
    where: str


class Handed:
    """A batch on its way.

    The receiver has it from the moment in which it is unpickled. Its memory goes back to the loader when the last
    tensor that lies in it is gone, or the batch is thrown away unseen.

    Args:
        address: Where it lies.
        left: The batch, with places in place of arrays.
    """

    def __init__(self, address: _Address, left: Any) -> None:
        self._sent = (address, left)
        self.batch: Any = None

    def __getstate__(self) -> tuple[_Address, Any]:
        return self._sent

    def __setstate__(self, sent: tuple[_Address, Any]) -> None:
        address, left = self._sent = sent
        whole = _lease(_mapped(address))
        self.batch = _changed(left, lambda value: _found(value, whole))

    def pin_memory(self, _device: str | None = None) -> Any:
        """Called by torch's loader: the batch in page-locked memory."""
        return _changed(self.batch, lambda value: value.pin_memory() if isinstance(value, Tensor) else value)


_KNOWN: dict[tuple[int, int], tuple[bytes, mmap.mmap]] = {}
"""Memory by loader and slot: mapping it anew for each batch would cost what this is to save."""
_LOCK = threading.Lock()


def forget_ended() -> None:
    """Let go of the memory of loaders that have ended."""
    with _LOCK:
        for known in [known for known in _KNOWN if not _runs(known[0])]:
            del _KNOWN[known]


def _mapped(address: _Address) -> mmap.mmap:
    token, memory = _KNOWN.get((address.pid, address.slot), (b"", None))
    if memory is not None and token == address.token:
        return memory
    forget_ended()
    file = MemoryFile.reopened(address.where)
    try:
        memory = mmap.mmap(file.handle, 0)
    finally:
        file.close()
    with _LOCK:
        _KNOWN[address.pid, address.slot] = (address.token, memory)
    return memory


def _lease(memory: mmap.mmap) -> npt.NDArray[np.uint8]:
    """All of the memory as an array that everything made of it keeps alive, and whose end gives the memory back."""
    whole = np.ndarray(len(memory), np.uint8, memory)
    owner = os.getpid()

    def give_back() -> None:
        # A process that was forked meanwhile has the array, too, but not the right to give it back.
        if os.getpid() == owner:
            memory[0] = 0

    weakref.finalize(whole, give_back).atexit = False
    return whole


def _found(value: Any, whole: npt.NDArray[np.uint8]) -> Any:
    """The array at a place; anything else as it is."""
    if not isinstance(value, _Place):
        return value
    if isinstance(value.dtype, torch.dtype):
        size = int(np.prod(value.shape, dtype=np.int64)) * value.dtype.itemsize
        part = torch.from_numpy(whole[value.begin : value.begin + size])
        return part.view(value.dtype).view(value.shape)
    dtype = np.dtype(value.dtype)
    size = int(np.prod(value.shape, dtype=np.int64)) * dtype.itemsize
    return whole[value.begin : value.begin + size].view(dtype).reshape(value.shape)


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """A batch with everything in it changed that is no dictionary, list or tuple."""
    if type(value) is dict:
        return {name: _changed(part, change) for name, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_changed(part, change) for part in value)
    return change(value)


def _size(value: Any) -> int:
    """Bytes that the arrays of a batch take in a slot."""
    if _is_tensor(value):
        return _aligned(value.numel() * value.element_size())
    if _is_array(value):
        return _aligned(value.nbytes)
    if type(value) is dict:
        return sum(_size(part) for part in value.values())
    if type(value) in (list, tuple):
        return sum(_size(part) for part in value)
    return 0


def _is_tensor(value: Any) -> bool:
    return (
        type(value) is Tensor
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.requires_grad
        and not value.is_quantized
        and value.numel() > 0
    )


def _is_array(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype.kind in _PLAIN and value.dtype.isnative and value.size > 0


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _runs(pid: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
