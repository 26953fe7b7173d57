"""Exact correlation of whole patches by summing the pointwise correlation along its diagonals.

With `c[p, q] = <f_p, f_q>` for cells `p` and `q` of the map, the inner product of two patches is the sum of
`c[p + w, q + w]` over the window `w`: entries of `c` on one diagonal, those of one displacement `q - p`. So for each
displacement it is enough to multiply the map with its shifted self and to run a box sum, where unfolding multiplies
every cell `patch * patch` times. Here one vertical displacement is one block, and all horizontal ones lie inside it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.patch_grid import PatchGrid
from snellen.ops.precision import accumulation_dtype, full_precision

__all__ = ["DiagonalBlock", "Normalisation", "PatchField", "diagonal_blocks", "prepare_field", "window_sum"]

Normalisation = Literal["none", "cosine", "zero-mean"]
"""`none`: plain inner product. `cosine`: divided by both norms. `zero-mean`: the mean over all entries of a descriptor
is taken off first (normalised cross-correlation)."""

# A zero-mean descriptor with less than this share of the patch's energy is rounding, not contrast.
_LEAST_CONTRAST = 1e-6
# Numbers in one block (16 MB in float32): large enough to keep the cores busy, small beside any image.
_BLOCK_NUMBERS = 1 << 22


@dataclass(frozen=True, slots=True)
class PatchField:
    """A batch of feature maps made ready for correlation.

    Args:
        grid: Patches on `cells`; same rows and columns as on the map that was given.
        cells: Shape `(H, B, W, C)`; the height comes first so that a shift down is a slice of contiguous memory.
        scale: Reciprocal norm of each patch, shape `(rows, B, columns)`; 0 where a patch has no content.
        mean: Mean of each descriptor times the root of its length, same shape, or None if it is not taken off.
    """

    grid: PatchGrid
    cells: Tensor
    scale: Tensor | None
    mean: Tensor | None

    def products(self, step: int, first: int, last: int) -> Tensor:
        """Inner products of the patch rows `first` to `last` (exclusive) with those `step` grid steps below.

        Args:
            step: Vertical displacement in grid steps, at least 0.
            first: First upper patch row.
            last: One past the last upper patch row; `last + step` is at most `grid.rows`.

        Returns:
            Shape `(last - first, B, columns, columns)`, entry `[i, b, x, z]` for the patches `(first + i, x)` and
            `(first + i + step, z)`. Not normalised, so that its graph holds nothing but views of `cells`.
        """
        patch, stride = self.grid.patch, self.grid.stride
        low, high = first * stride, (last - 1) * stride + patch
        upper, lower = self.cells[low:high], self.cells[low + step * stride : high + step * stride]
        pointwise = torch.bmm(upper.flatten(0, 1), lower.flatten(0, 1).transpose(1, 2))
        sums = window_sum(torch.unflatten(pointwise, 0, upper.shape[:2]), patch, dims=(0,))[::stride]
        return window_sum(sums, patch, dims=(2, 3))[..., ::stride, ::stride]

    def block(self, step: int, first: int, last: int) -> Tensor:
        """Correlations of a block of patches: `products`, normalised.

        Args:
            step: As in `products`.
            first: As in `products`.
            last: As in `products`.

        Returns:
            Shape `(last - first, B, columns, columns)`.
        """
        values = self.products(step, first, last)
        if self.mean is not None:
            values = values - _outer(self.mean, step, first, last)
        return values if self.scale is None else values * _outer(self.scale, step, first, last)


@dataclass(frozen=True, slots=True)
class DiagonalBlock:
    """Place of one block: upper patch rows `first` to `last` (exclusive), the others `step` rows below."""

    step: int
    first: int
    last: int


def diagonal_blocks(field: PatchField, *, rows: int | None = None) -> Iterator[DiagonalBlock]:
    """Blocks that together hold every unordered pair of patches once (pairs within one row twice).

    Args:
        field: The prepared maps.
        rows: Patch rows in one block. None picks a number that keeps a block near 16 MB in float32; never less than the
            patch, since neighbouring blocks share `patch - 1` rows of products.

    Yields:
        Blocks in order of their vertical displacement.

    Raises:
        ContractError: If `rows` is below 1.
    """
    if rows is None:
        _, batch, width, _ = field.cells.shape
        fitting = _BLOCK_NUMBERS // max(1, batch * width * width) - field.grid.patch
        rows = max(field.grid.patch, fitting // field.grid.stride)
    if rows < 1:
        raise ContractError(f"tile_rows is {rows}, expected at least 1")
    for step in range(field.grid.rows):
        upper_rows = field.grid.rows - step
        for first in range(0, upper_rows, rows):
            yield DiagonalBlock(step, first, min(first + rows, upper_rows))


def prepare_field(features: Tensor, grid: PatchGrid, *, normalisation: Normalisation) -> PatchField:
    """Lay the features out for `PatchField.block`, in float32 (float64 stays), and find the patches' norms.

    The common divisor of patch and stride is moved into the channels first (space to depth): patch 12 and stride 4 on
    384 channels become patch 3 and stride 1 on 6144, the same inner products from a sixteenth of the positions.

    Args:
        features: Shape `(B, C, H, W)`, floating.
        grid: Patches on the map.
        normalisation: See `Normalisation`.

    Raises:
        ContractError: If `normalisation` is unknown.
    """
    if normalisation not in ("none", "cosine", "zero-mean"):
        raise ContractError(f"normalisation is {normalisation!r}, expected 'none', 'cosine' or 'zero-mean'")
    with full_precision(features.device):
        dtype = accumulation_dtype(features.dtype)
        divisor = math.gcd(grid.patch, grid.stride)
        raw = _as_cells(features.to(dtype), divisor)
        reduced = PatchGrid(
            height=raw.shape[0], width=raw.shape[2], patch=grid.patch // divisor, stride=grid.stride // divisor
        )
        if normalisation == "none":
            return PatchField(reduced, raw, scale=None, mean=None)
        energy = _energy(raw, reduced)
        if normalisation == "cosine":
            return PatchField(reduced, raw, scale=_reciprocal_root(energy, torch.zeros_like(energy)), mean=None)
        # Correlation does not change when one constant is taken off the whole map, and float32 keeps more digits.
        cells = raw - raw.mean(dim=(0, 2, 3), keepdim=True)
        length = reduced.patch**2 * raw.shape[3]
        mean = _patch_sums(cells.sum(dim=-1), reduced) / math.sqrt(length)
        contrast = _energy(cells, reduced) - mean.square()
        return PatchField(reduced, cells, scale=_reciprocal_root(contrast, _LEAST_CONTRAST * energy), mean=mean)


def window_sum(values: Tensor, size: int, *, dims: tuple[int, ...]) -> Tensor:
    """Sum of `size` consecutive entries along a dimension, or along the diagonal of several.

    Sums of 1, 2, 4, 8, ... entries are doubled up and joined, about `2 log2(size)` additions for any size. A running
    sum would need two, but its subtractions lose digits that correlation needs.

    Args:
        values: Any shape.
        size: Window length, at most the length of each of `dims`.
        dims: Dimensions that advance together.

    Returns:
        Same shape as `values` with `dims` shorter by `size - 1`.

    Example:
        >>> window_sum(torch.tensor([1, 2, 3, 4]), 3, dims=(0,)).tolist()
        [6, 9]
        >>> window_sum(torch.tensor([[1, 0, 5], [0, 2, 0], [7, 0, 3]]), 2, dims=(0, 1)).tolist()
        [[3, 0], [0, 5]]
    """
    lengths = {dim: values.shape[dim] - size + 1 for dim in dims}
    parts: list[Tensor] = []
    taken, span = 0, 1
    while taken < size:
        if size & span:
            parts.append(_narrow(values, taken, lengths))
            taken += span
        if taken < size:
            shorter = {dim: values.shape[dim] - span for dim in dims}
            values = _narrow(values, 0, shorter) + _narrow(values, span, shorter)
            span *= 2
    return functools.reduce(torch.add, parts)


def _narrow(values: Tensor, start: int, lengths: dict[int, int]) -> Tensor:
    for dim, length in lengths.items():
        values = values.narrow(dim, start, length)
    return values


def _as_cells(features: Tensor, divisor: int) -> Tensor:
    """Space to depth and height first, in one copy: (H / divisor, B, W / divisor, C * divisor * divisor)."""
    batch, channels, height, width = features.shape
    rows, columns = height // divisor, width // divisor
    whole = features[..., : rows * divisor, : columns * divisor]
    parts = whole.reshape(batch, channels, rows, divisor, columns, divisor).permute(2, 0, 4, 1, 3, 5)
    return parts.reshape(rows, batch, columns, channels * divisor * divisor).contiguous()


def _patch_sums(values: Tensor, grid: PatchGrid) -> Tensor:
    """Sum `values` of shape (H, B, W) over every patch: (rows, B, columns)."""
    return window_sum(window_sum(values, grid.patch, dims=(0,)), grid.patch, dims=(2,))[
        :: grid.stride, :, :: grid.stride
    ]


def _energy(cells: Tensor, grid: PatchGrid) -> Tensor:
    # The norm reads the cells without a squared copy of them.
    return _patch_sums(torch.linalg.vector_norm(cells, dim=-1).square(), grid)


def _reciprocal_root(values: Tensor, floor: Tensor) -> Tensor:
    """`values ** -0.5`, and 0 with a gradient of 0 where values are not above `floor`."""
    usable = values > floor
    return torch.where(usable, values, torch.ones_like(values)).rsqrt() * usable


def _outer(values: Tensor, step: int, first: int, last: int) -> Tensor:
    return values[first:last].unsqueeze(-1) * values[first + step : last + step].unsqueeze(-2)
