"""Numbers of a checkpoint, a few of each tensor: NaN, Inf, and tensors that hold nothing but zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np

from snellen.core.facts.weights import TensorEntry

__all__ = ["BYTES_OF", "MAX_BYTES", "read_values", "unusual_values"]

BYTES_OF: Final = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
}
"""Size of one number."""
MAX_BYTES: Final = 256 * 2**20
"""So much of a file is read for its values: half a second to a second."""
_PIECE = 64 * 2**10

Reader = Callable[[int, int], bytes]
"""Gives so many bytes from a position of a tensor's numbers on; fewer, or none, where they cannot be had."""


def unusual_values(tensors: Iterable[tuple[TensorEntry, Reader]]) -> tuple[tuple[tuple[str, str], ...], int]:
    """What is wrong with the values of tensors, and of how many values were read.

    Args:
        tensors: With a function that reads their bytes; of each its start, its middle and its end are read.
    """
    found: list[tuple[str, str]] = []
    read = sampled = 0
    for entry, reader in tensors:
        size = BYTES_OF.get(entry.dtype, 0)
        if entry.dtype not in ("float64", "float32", "float16", "bfloat16") or not entry.numel:
            continue
        if read >= MAX_BYTES:
            break
        pieces = [reader(position, length) for position, length in _places(entry.numel * size, size)]
        read += sum(map(len, pieces))
        values = np.concatenate([read_values(piece, entry.dtype) for piece in pieces])
        if values.size:
            sampled += 1
            found += [(entry.name, what) for what in _oddities(entry, values)]
    return tuple(found), sampled


def _places(total: int, size: int) -> Iterator[tuple[int, int]]:
    if total <= 3 * _PIECE:
        yield 0, total
        return
    for start in (0, total // 2, total - _PIECE):
        yield start // size * size, _PIECE


def read_values(raw: bytes, dtype: str) -> np.ndarray:
    """Bytes, little-endian, as float32 or float64; a bfloat16 is the upper half of a float32."""
    if dtype == "bfloat16":
        halves = np.frombuffer(raw[: len(raw) // 2 * 2], "<u2").astype(np.uint32)
        return (halves << 16).view(np.float32)
    kind = np.dtype(dtype).newbyteorder("<")
    return np.frombuffer(raw[: len(raw) // kind.itemsize * kind.itemsize], kind)


def _oddities(entry: TensorEntry, values: np.ndarray) -> Iterator[str]:
    broken, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if broken:
        yield f"{broken:,} of {values.size:,} numbers read are NaN"
    if infinite:
        yield f"{infinite:,} of {values.size:,} numbers read are infinite"
    # Biases and running means begin as zeros; a matrix of nothing but zeros was never learned.
    if len(entry.shape) >= 2 and entry.numel > 16 and not values.any():
        yield f"all {values.size:,} numbers read are 0"
