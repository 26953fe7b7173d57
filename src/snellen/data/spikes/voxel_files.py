"""Voxel grids that were computed before: `.npy` and `.pt` files of `(bins, height, width)`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from snellen.core.files import write_bytes
from snellen.errors import DataError
from snellen.ops.voxels import MAX_BINS

__all__ = ["SUFFIXES", "compact", "read_voxel_file", "write_voxel_file"]

SUFFIXES = frozenset({".npy", ".pt"})
"""Of files that hold one voxel grid each."""


def read_voxel_file(path: str | Path) -> npt.NDArray[np.float32]:
    """Read a voxel grid; nothing in the file is run.

    Returns:
        `(bins, height, width)`.

    Raises:
        DataError: It cannot be read, or holds something else than one grid of 1 to 32 bins.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npy"
        >>> write_voxel_file(path, np.ones((2, 1, 1), np.float32))
        >>> read_voxel_file(path).tolist()
        [[[1.0]], [[1.0]]]
    """
    path = Path(path)
    try:
        found: Any = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else _tensor(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", slug="missing-file") from error
    except Exception as error:  # the readers raise whatever the bytes lead to
        raise DataError(f"{path} cannot be read as a voxel grid: {error}") from error
    grid = np.asarray(found)
    if (
        grid.ndim != 3
        or not 1 <= grid.shape[0] <= MAX_BINS
        or not (np.issubdtype(grid.dtype, np.number) or grid.dtype == np.bool_)
    ):
        raise DataError(
            f"{path} holds {grid.dtype} of shape {grid.shape}, expected numbers of shape (bins, height, width) with 1 "
            f"to {MAX_BINS} bins"
        )
    voxels = np.ascontiguousarray(grid, np.float32)
    if not np.isfinite(voxels).all():
        raise DataError(f"{path} holds NaN or Inf", slug="nan-loss")
    return voxels


def write_voxel_file(path: str | Path, voxels: npt.NDArray[np.float32]) -> None:
    """Write a voxel grid as `.npy`, whole or not at all; counts up to 255 take one byte each.

    Raises:
        RunFolderError: The file cannot be written.
    """
    buffer = io.BytesIO()
    np.save(buffer, compact(voxels), allow_pickle=False)
    write_bytes(path, buffer.getbuffer())


def compact(voxels: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """The same numbers as uint8 where that holds them exactly, which counts of spikes nearly always are.

    Example:
        >>> compact(np.array([[[3.0]]], np.float32)).dtype, compact(np.array([[[0.5]]], np.float32)).dtype
        (dtype('uint8'), dtype('float32'))
    """
    small = voxels.astype(np.uint8) if voxels.size and voxels.min() >= 0 and voxels.max() <= 255 else None
    return small if small is not None and np.array_equal(small, voxels) else voxels


def _tensor(path: Path) -> Any:
    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, dict):
        tensors = [value for value in found.values() if isinstance(value, torch.Tensor) and value.ndim == 3]
        if len(tensors) != 1:
            raise ValueError(f"{len(tensors)} tensors of three dimensions, expected one")
        found = tensors[0]
    if not isinstance(found, torch.Tensor):
        raise TypeError(f"a {type(found).__name__}, expected a tensor")
    return found.float().numpy()
