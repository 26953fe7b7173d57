"""Spike streams as they lie in `.dat` files: one bit or one byte a pixel, steps back to back, without a header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from snellen.core.files import write_bytes
from snellen.errors import DataError
from snellen.ops.voxels import packed_voxels

__all__ = ["BitOrder", "SpikeFormat", "Spikes", "read_spikes", "read_voxels", "steps_of", "write_spikes"]

Spikes: TypeAlias = npt.NDArray[np.uint8]
"""`(steps, height, width)`, 0 or 1."""
BitOrder = Literal["little", "big"]
"""Whether the first pixel of a byte is its least or its most significant bit."""


@dataclass(frozen=True, slots=True)
class SpikeFormat:
    """How a stream is stored.

    Args:
        height: Rows of the sensor.
        width: Columns of the sensor, those that are dropped included.
        bits: Of one pixel: 1, or 8 for a byte of 0 or 1 each.
        flip: The rows are stored from the bottom up, as most cameras and their tools write them.
        bit_order: Of packed pixels.
        columns: Columns that are kept from the left; all without it. Sensors of 416 columns have 16 of bookkeeping.

    Example:
        >>> SpikeFormat(250, 400).step_bytes, SpikeFormat(250, 400, bits=8).step_bytes
        (12500, 100000)
    """

    height: int
    width: int
    bits: Literal[1, 8] = 1
    flip: bool = True
    bit_order: BitOrder = "little"
    columns: int | None = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.bits not in (1, 8):
            raise DataError(f"a spike sensor of {self.height} x {self.width} with {self.bits} bits a pixel, expected "
                            "at least 1 x 1 with 1 or 8")  # fmt: skip
        if self.bits == 1 and self.height * self.width % 8:
            raise DataError(
                f"{self.height} x {self.width} pixels of one bit do not fill whole bytes, so that steps have no start",
                hint="the product of height and width must be a multiple of 8",
            )
        if self.columns is not None and not 1 <= self.columns <= self.width:
            raise DataError(f"{self.columns} columns cannot be kept of {self.width}")

    @property
    def step_bytes(self) -> int:
        """Bytes of one step."""
        return self.height * self.width * self.bits // 8

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` of what is read."""
        return self.height, self.columns or self.width

    def __str__(self) -> str:
        return f"{self.height} x {self.width}, {self.bits} bit{'s' if self.bits > 1 else ''} a pixel"


def steps_of(path: str | Path, form: SpikeFormat) -> tuple[int, int]:
    """Whole steps in a file, and the bytes that are left over, which reading ignores.

    Raises:
        DataError: The file is missing, or holds less than one step.
    """
    size = _size(Path(path))
    steps, left = divmod(size, form.step_bytes)
    if not steps:
        raise DataError(f"{path} has {size} bytes, one step of {form} has {form.step_bytes}")
    return steps, left


def read_spikes(path: str | Path, form: SpikeFormat, *, begin: int = 0, count: int | None = None) -> Spikes:
    """Read steps of a stream.

    Args:
        path: The file.
        form: How it is stored.
        begin: The first step, from 0.
        count: How many; up to the end without it.

    Raises:
        DataError: The file is missing or holds less than one step, or steps past its end are asked for.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.dat"
        >>> _ = path.write_bytes(bytes([0b00000101]))
        >>> read_spikes(path, SpikeFormat(1, 8)).tolist()
        [[[1, 0, 1, 0, 0, 0, 0, 0]]]
    """
    raw = _raw(Path(path), form, begin, count)
    pixels = form.height * form.width
    bits = raw != 0 if form.bits == 8 else np.unpackbits(raw, axis=1, count=pixels, bitorder=form.bit_order)
    frames = bits.astype(np.uint8, copy=False).reshape(-1, form.height, form.width)
    frames = frames[:, ::-1] if form.flip else frames
    return np.ascontiguousarray(frames[:, :, : form.size[1]])


def read_voxels(
    path: str | Path, form: SpikeFormat, bins: int, *, begin: int = 0, count: int | None = None
) -> npt.NDArray[np.float32]:
    """Steps of a stream summed into time bins: `snellen.ops.voxels.voxelise` of `read_spikes`, without unpacking.

    Args:
        path: The file.
        form: How it is stored.
        bins: 1 to 32.
        begin: The first step, from 0.
        count: How many; up to the end without it.

    Returns:
        Counts, `(bins, height, columns)`.

    Raises:
        DataError: As `read_spikes`.
    """
    raw = _raw(Path(path), form, begin, count)
    order = form.bit_order
    if form.bits == 8:
        raw, order = np.packbits(raw, axis=1, bitorder="little"), "little"  # a bit is set for whatever is not 0
    grid = packed_voxels(raw, bins, height=form.height, width=form.width, flip=form.flip, bit_order=order)
    return grid if form.columns is None else np.ascontiguousarray(grid[:, :, : form.columns])


def write_spikes(path: str | Path, spikes: npt.NDArray[Any], form: SpikeFormat) -> None:
    """Write a stream, whole or not at all.

    Raises:
        DataError: The spikes are of another size than the sensor.
        RunFolderError: The file cannot be written.
    """
    if spikes.ndim != 3 or spikes.shape[1:] != (form.height, form.width):
        raise DataError(f"spikes of shape {spikes.shape}, expected (steps, {form.height}, {form.width})")
    rows = (spikes[:, ::-1] if form.flip else spikes) != 0
    flat = rows.reshape(len(rows), -1)
    stored = flat.astype(np.uint8) if form.bits == 8 else np.packbits(flat, axis=1, bitorder=form.bit_order)
    write_bytes(path, stored.tobytes())


def _raw(path: Path, form: SpikeFormat, begin: int, count: int | None) -> npt.NDArray[np.uint8]:
    steps, _ = steps_of(path, form)
    wanted = steps - begin if count is None else count
    if begin < 0 or wanted < 1 or begin + wanted > steps:
        raise DataError(f"{path} holds the steps 0 to {steps - 1}, asked for {begin} to {begin + wanted - 1}")
    size = form.step_bytes
    try:
        raw = np.fromfile(path, np.uint8, wanted * size, offset=begin * size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", slug="missing-file") from error
    if raw.size != wanted * size:
        raise DataError(f"{path} was cut short while it was read")
    return raw.reshape(wanted, size)


def _size(path: Path) -> int:
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder, expected a spike stream")
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", slug="missing-file") from error
