"""Large images in overlapping tiles, and the way back to one map."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.precision import accumulation_dtype

__all__ = ["Tile", "blend", "tiles"]

# 150 megapixels in tiles of 256 with half overlap are 9 thousand; a million means a step of a few pixels by mistake.
_MOST_TILES = 1_000_000


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of an image, in pixels; `y` down, `x` to the right.

    Args:
        top: First row.
        left: First column.
        height: Rows.
        width: Columns.
    """

    top: int
    left: int
    height: int
    width: int

    def crop(self, image: Tensor) -> Tensor:
        """View of the tile in an image.

        Args:
            image: Shape `(..., H, W)`.

        Example:
            >>> Tile(top=1, left=0, height=1, width=2).crop(torch.arange(6).view(2, 3)).tolist()
            [[3, 4]]
        """
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def tiles(height: int, width: int, *, tile: int, overlap: int) -> tuple[Tile, ...]:
    """Cut an image into equal tiles that cover all of it.

    Neighbours share at least `overlap` pixels. The last tile of a row or column is shifted inwards to end at the
    border, so that every tile has the same size; an image smaller than a tile in one direction is one smaller tile
    there.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        tile: Side of a tile, in pixels.
        overlap: Least number of pixels that neighbours share, 0 to `tile - 1`.

    Returns:
        The tiles, row by row.

    Raises:
        ContractError: If a number is out of range, or more than a million tiles would result.

    Example:
        >>> [(one.left, one.width) for one in tiles(4, 10, tile=4, overlap=1)]
        [(0, 4), (3, 4), (6, 4)]
    """
    if min(height, width, tile) < 1:
        raise ContractError(f"the image is {height} x {width} and a tile is {tile}, expected all to be at least 1")
    if not 0 <= overlap < tile:
        raise ContractError(f"overlap is {overlap}, expected 0 to {tile - 1} for tiles of {tile}")
    step = tile - overlap
    down, across = (math.ceil(max(side - tile, 0) / step) + 1 for side in (height, width))
    if down * across > _MOST_TILES:
        raise ContractError(
            f"{height} x {width} pixels in tiles of {tile} with overlap {overlap} would be {down * across} tiles, "
            f"expected at most {_MOST_TILES}",
            hint="use a larger tile or a smaller overlap",
        )
    return tuple(
        Tile(top, left, min(tile, height), min(tile, width))
        for top in _starts(height, tile, step, down)
        for left in _starts(width, tile, step, across)
    )


def blend(outputs: Iterable[tuple[Tile, Tensor]], *, height: int, width: int) -> Tensor:
    """Join the outputs of tiles to one map; where tiles overlap, their weighted mean.

    The weight falls smoothly from the middle of a tile to its border (a squared sine in both directions), because a
    network knows least about the border. Outputs are taken one by one and may come from a generator: memory is that of
    the result in float32, one plane of weights and one tile.

    Args:
        outputs: Tiles and what the network made of them, shape `(C, h, w)` of the tile's size, floating.
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        Shape `(C, height, width)`, in the type and on the device of the first output.

    Raises:
        ContractError: If an output does not fit its tile or the others, a tile lies outside the map, or a pixel is
            covered by none.

    Example:
        >>> image = torch.rand(3, 20, 30)
        >>> parts = ((tile, tile.crop(image)) for tile in tiles(20, 30, tile=8, overlap=4))
        >>> torch.allclose(blend(parts, height=20, width=30), image)
        True
    """
    total: Tensor | None = None
    weights = torch.empty(0)
    dtype = torch.float32
    for tile, output in outputs:
        if total is None:
            dtype = output.dtype
            total = output.new_zeros((*output.shape[:1], height, width), dtype=accumulation_dtype(dtype))
            weights = total.new_zeros(height, width)
        _check_output(tile, output, total)
        weight = _bump(tile.height, total).unsqueeze(1) * _bump(tile.width, total)
        tile.crop(total).add_(output.to(total) * weight)
        tile.crop(weights).add_(weight)
    if total is None:
        raise ContractError("there are no tiles to blend, expected at least one")
    bare = (weights == 0).nonzero()
    if len(bare):
        row, column = bare[0].tolist()
        raise ContractError(
            f"{len(bare)} of {height} x {width} pixels are covered by no tile, the first at row {row}, column {column}"
        )
    return total.div_(weights).to(dtype)


def _starts(side: int, tile: int, step: int, count: int) -> list[int]:
    return [min(index * step, max(side - tile, 0)) for index in range(count)]


def _bump(size: int, like: Tensor) -> Tensor:
    """Squared sine over `size` pixels, sampled at their centres: positive everywhere."""
    centres = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) / size
    return (centres * math.pi).sin().square()


def _check_output(tile: Tile, output: Tensor, total: Tensor) -> None:
    channels, height, width = total.shape
    if tuple(output.shape) != (channels, tile.height, tile.width):
        raise ContractError(
            f"the output of {tile} has shape {tuple(output.shape)}, expected {(channels, tile.height, tile.width)}"
        )
    if min(tile.top, tile.left) < 0 or tile.top + tile.height > height or tile.left + tile.width > width:
        raise ContractError(f"{tile} does not lie inside a map of {height} x {width}")
