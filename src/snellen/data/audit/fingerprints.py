"""Two short descriptions of what a picture shows: 64 bits to find pictures that look alike, 256 bytes to compare them.

Both are made from the brightness at 32 x 32, so size, compression and colour hardly matter. The bits are the signs of
the 64 lowest frequencies (discrete cosine transform, without the mean): brightness and contrast do not change signs.
Mirroring a picture only changes the signs of the odd horizontal frequencies, so the bits of the mirrored picture are
known without looking at it: an exclusive or with a constant.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = [
    "FLAT",
    "MIRROR",
    "SIGNATURE",
    "bits_apart",
    "fine_likeness",
    "fingerprint_of",
    "likeness",
    "mirrored_signatures",
    "shrink",
    "signature_of",
    "steps_of",
]

_SIDE = 32
_COARSE = 16
_BITS = 64

SIGNATURE: Final = _COARSE**2
"""Bytes of the signature of a picture that is not flat."""

FLAT: Final = 2.0
"""Standard deviation of the brightness (of 255) at 16 x 16 under which there is nothing to compare."""


def _frequencies() -> list[tuple[int, int]]:
    # From coarse to fine, without (0, 0), which is the mean.
    pairs = [(row, column) for row in range(12) for column in range(12) if row + column]
    return sorted(pairs, key=lambda pair: (sum(pair), pair))[:_BITS]


def _cosines() -> npt.NDArray[np.float32]:
    places, frequencies = np.arange(_SIDE) + 0.5, np.arange(12)[:, None]
    return np.cos(np.pi * frequencies * places / _SIDE).astype(np.float32)


_FREQUENCIES = _frequencies()
_ROWS = np.array([row for row, _ in _FREQUENCIES])
_COLUMNS = np.array([column for _, column in _FREQUENCIES])
_COSINES = _cosines()

MIRROR: Final = sum(1 << (_BITS - 1 - place) for place, (_, column) in enumerate(_FREQUENCIES) if column % 2)
"""The fingerprint of the mirrored picture is the fingerprint exclusive-or this."""


def shrink(grey: Image.Image) -> npt.NDArray[np.float32]:
    """The brightness of a picture (mode `L`) at 32 x 32."""
    small = grey.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def fingerprint_of(small: npt.NDArray[np.float32]) -> int:
    """64 bits that stay nearly the same under scaling, compression and changes of brightness.

    Args:
        small: From `shrink`, upright.

    Example:
        >>> picture = Image.radial_gradient("L").crop((0, 30, 200, 256))
        >>> one, other = fingerprint_of(shrink(picture)), fingerprint_of(shrink(picture.resize((90, 60))))
        >>> (one ^ other).bit_count() <= 4
        True
        >>> turned = fingerprint_of(shrink(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
        >>> (one ^ MIRROR ^ turned).bit_count() <= 4
        True
    """
    waves = _COSINES @ (small - small.mean()) @ _COSINES.T
    bits = np.packbits(waves[_ROWS, _COLUMNS] > 0)
    return int.from_bytes(bits.tobytes(), "big")


def signature_of(small: npt.NDArray[np.float32]) -> bytes:
    """The brightness at 16 x 16 less its mean, in 32nds of its standard deviation; empty for a flat picture.

    Args:
        small: From `shrink`, upright.
    """
    coarse = small.reshape(_COARSE, 2, _COARSE, 2).mean(axis=(1, 3))
    coarse -= coarse.mean()
    deviation = float(coarse.std())
    if deviation < FLAT:
        return b""
    steps = np.clip(np.rint(coarse * (32 / deviation)), -127, 127)
    return bytes(steps.astype(np.int8).tobytes())


def mirrored_signatures(signatures: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """The signatures, shape `(n, 256)`, of the mirrored pictures."""
    return np.ascontiguousarray(signatures.reshape(-1, _COARSE, _COARSE)[:, :, ::-1]).reshape(-1, SIGNATURE)


def steps_of(signatures: npt.NDArray[np.int8]) -> npt.NDArray[np.uint64]:
    """64 other bits of each picture: whether each cell of 8 x 8 is brighter than its left neighbour.

    A patch that was pasted turns only the bits around it, where it may turn many of the weak frequencies.

    Args:
        signatures: Shape `(n, 256)`.
    """
    half = _COARSE // 2
    cells = signatures.reshape(-1, half, 2, half, 2).sum(axis=(2, 4), dtype=np.int16)
    bits = np.packbits((cells > np.roll(cells, 1, axis=2)).reshape(len(cells), -1), axis=1)
    return np.ascontiguousarray(bits).view(np.uint64).reshape(-1)


def likeness(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """How alike signatures, or details of one place, are, pair by pair: their correlation.

    Args:
        one: Shape `(pairs, values)`; 256 values are a signature.
        other: The same shape.

    Example:
        >>> rows = np.array([[1, 2, 4], [1, 2, 4]], dtype=np.int8)
        >>> likeness(rows, rows * np.array([[3], [-3]], dtype=np.int8)).round(3).tolist()
        [1.0, -1.0]
    """
    one = one - one.mean(axis=1, keepdims=True, dtype=np.float32)
    other = other - other.mean(axis=1, keepdims=True, dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", one, one) * np.einsum("ij,ij->i", other, other))
    result: npt.NDArray[np.float32] = np.einsum("ij,ij->i", one, other) / np.maximum(norms, np.float32(1e-6))
    return result


def fine_likeness(one: npt.NDArray[np.int8], other: npt.NDArray[np.int8]) -> npt.NDArray[np.float32]:
    """The correlation of what is left of signatures without the coarse, pair by pair.

    It keeps pictures apart that share nothing but a bright middle or a dark rim.

    Args:
        one: Shape `(pairs, 256)`.
        other: The same shape.
    """
    return likeness(_fine(one.astype(np.float32)), _fine(other.astype(np.float32)))


def _fine(signatures: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What is left of each cell without the mean of the 5 x 5 cells around it."""
    cells = signatures.reshape(-1, _COARSE, _COARSE)
    padded = np.pad(cells, ((0, 0), (2, 2), (2, 2)), mode="edge")
    rows = np.zeros_like(padded[:, :_COARSE])
    for shift in range(5):
        rows += padded[:, shift : shift + _COARSE]
    around = np.zeros_like(cells)
    for shift in range(5):
        around += rows[:, :, shift : shift + _COARSE]
    fine: npt.NDArray[np.float32] = (cells - around / np.float32(25)).reshape(-1, SIGNATURE)
    return fine


def bits_apart(one: npt.NDArray[np.uint64], other: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """In how many bits fingerprints differ, pair by pair.

    Example:
        >>> bits_apart(np.array([7], dtype=np.uint64), np.array([1], dtype=np.uint64)).tolist()
        [2]
    """
    differing = np.ascontiguousarray(one ^ other)
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.asarray(np.bitwise_count(differing), dtype=np.uint8)
    return np.asarray(_ONES[differing.view(np.uint8)].reshape(-1, 8).sum(axis=1), dtype=np.uint8)


_ONES = np.array([value.bit_count() for value in range(256)], dtype=np.uint8)
