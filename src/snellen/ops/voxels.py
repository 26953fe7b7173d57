"""Spikes summed into time bins, without a loop over the steps and without unpacking them."""

from __future__ import annotations

import itertools
import math
from typing import Any, Final, Literal, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["MAX_BINS", "first_steps", "packed_voxels", "voxelise"]

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]

MAX_BINS: Final = 32
"""More bins than a sensor of 20,000 steps a second fills with 20 steps each at 30 frames a second."""

_PLANES = 8
_MOST_STEPS = (1 << _PLANES) - 1
_SWAPS = ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F))


def first_steps(steps: int, bins: int) -> list[int]:
    """The first step of each bin, and the number of steps at the end: step `t` lies in bin `floor(t * bins / steps)`.

    Example:
        >>> first_steps(16, 5)
        [0, 4, 7, 10, 13, 16]
    """
    return [-(-number * steps // bins) for number in range(bins + 1)]


def voxelise(spikes: npt.NDArray[Any], bins: int) -> npt.NDArray[np.float32]:
    """Sum spikes into time bins.

    Args:
        spikes: `(steps, height, width)`, 0 where there is no spike.
        bins: 1 to 32.

    Returns:
        Counts, `(bins, height, width)`; not normalised.

    Example:
        >>> voxelise(np.ones((5, 1, 2)), 2).tolist()
        [[[3.0, 3.0]], [[2.0, 2.0]]]
    """
    steps, height, width = spikes.shape
    flat = spikes.reshape(steps, height * width)
    flat = flat if flat.dtype.kind in "biu" else flat != 0
    packed = np.packbits(flat, axis=1, bitorder="little")  # a bit is set for whatever is not 0
    return packed_voxels(packed, bins, height=height, width=width)


def packed_voxels(
    packed: Bytes,
    bins: int,
    *,
    height: int,
    width: int,
    flip: bool = False,
    bit_order: Literal["little", "big"] = "little",
) -> npt.NDArray[np.float32]:
    """Sum packed spikes into time bins.

    The bits of all steps of a bin are added for 64 pixels at once, by the full adder of a processor: three bits of one
    weight become one of that weight and one of twice the weight. Only the sums are unpacked.

    Args:
        packed: `(steps, bytes)`, one bit a pixel, pixels row by row.
        bins: 1 to 32.
        height: Rows of the sensor.
        width: Columns of the sensor.
        flip: Reverse the order of the rows.
        bit_order: Whether the first pixel of a byte is its least or its most significant bit.

    Returns:
        Counts, `(bins, height, width)`; not normalised.

    Raises:
        ValueError: `bins` is out of range, or a step has too few bytes.

    Example:
        >>> packed_voxels(np.array([[1], [3], [2]], np.uint8), 1, height=1, width=8)[0, 0, :3].tolist()
        [2.0, 2.0, 0.0]
    """
    steps, row = packed.shape
    if not 1 <= bins <= MAX_BINS:
        raise ValueError(f"{bins} bins, expected 1 to {MAX_BINS}")
    if row * 8 < height * width:
        raise ValueError(f"a step has {row} bytes, {height} x {width} pixels need {-(-height * width // 8)}")
    if not steps:
        return np.zeros((bins, height, width), np.float32)
    # Bins of equal place in a period are of equal length and equally far apart, and are added together.
    alike = math.gcd(steps, bins)
    periods, distinct = packed.reshape(alike, steps // alike, row), bins // alike
    edges = first_steps(steps // alike, distinct)
    grid = np.empty((alike, distinct, height, width), np.float32)
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        # Eight planes count to 255; what is longer is added in parts.
        for begin in range(start, max(end, start + 1), _MOST_STEPS):
            counts = _counts(periods[:, begin : min(end, begin + _MOST_STEPS)], bit_order)
            frames = counts[:, : height * width].reshape(alike, height, width)
            frames = frames[:, ::-1] if flip else frames
            if begin == start:
                grid[:, number] = frames
            else:
                grid[:, number] += frames
    return grid.reshape(bins, height, width)


def _counts(steps: Bytes, bit_order: str) -> Bytes:
    """`(groups, steps, bytes)` of bits to `(groups, 8 * padded bytes)` of sums over the steps."""
    groups, _, row = steps.shape
    padded = -(-row // 8) * 8
    planes = np.zeros((_PLANES, groups, padded), np.uint8)
    for weight, plane in enumerate(_added([steps[:, step] for step in range(steps.shape[1])])):
        planes[weight, :, :row] = plane
    _transpose_bits(planes.view(np.uint64))
    counts = np.empty((groups, padded, _PLANES), np.uint8)
    # Byte i of plane k now counts the pixel of bit k in byte i.
    cv2.merge(list(planes if bit_order == "little" else planes[::-1]), counts)
    return counts.reshape(groups, -1)


def _added(planes: list[Bytes]) -> list[Bytes]:
    """Sum of one-bit numbers, as planes of the weights 1, 2, 4 ..."""
    sums = []
    while planes:
        carries: list[Bytes] = []
        while len(planes) > 2:
            one, two, three = planes.pop(), planes.pop(), planes.pop()
            half = one ^ two
            carry = one & two
            planes.append(half ^ three)
            np.bitwise_and(half, three, out=half)
            carries.append(np.bitwise_or(carry, half, out=carry))
        if len(planes) == 2:
            carries.append(planes[0] & planes[1])
            planes = [planes[0] ^ planes[1]]
        sums.append(planes[0])
        planes = carries
    return sums


def _transpose_bits(planes: Words) -> None:
    """Of eight planes, exchange the number of the plane with the place of the bit in its byte."""
    kept = np.empty_like(planes[0])
    for distance, mask in _SWAPS:
        shift, bits = np.uint64(distance), np.uint64(mask)
        for low in range(_PLANES):
            if low & distance:
                continue
            first, second = planes[low], planes[low + distance]
            np.right_shift(first, shift, out=kept)
            np.bitwise_xor(kept, second, out=kept)
            np.bitwise_and(kept, bits, out=kept)
            np.bitwise_xor(second, kept, out=second)
            np.left_shift(kept, shift, out=kept)
            np.bitwise_xor(first, kept, out=first)
