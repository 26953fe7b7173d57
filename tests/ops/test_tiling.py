"""Tiles cover everything; blending crops of a map gives the map back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.tiling import Tile, blend, tiles

SIZES = [
    (1, 1, 1, 0),
    (1, 500, 64, 16),
    (40, 600, 64, 0),
    (100, 100, 32, 31),
    (97, 61, 20, 7),
    (64, 64, 64, 63),
    (5, 5, 9, 2),
]


@pytest.mark.parametrize(("height", "width", "tile", "overlap"), SIZES)
def test_tiles_cover_with_overlap_inside_and_of_one_size(height: int, width: int, tile: int, overlap: int) -> None:
    cut = tiles(height, width, tile=tile, overlap=overlap)
    covered = np.zeros((height, width), dtype=int)
    for one in cut:
        assert (one.height, one.width) == (min(tile, height), min(tile, width))
        assert one.top >= 0
        assert one.left >= 0
        covered[one.top : one.top + one.height, one.left : one.left + one.width] += 1
    assert covered.sum() == len(cut) * min(tile, height) * min(tile, width)
    assert covered.min() >= 1
    assert len(set(cut)) == len(cut)
    for starts in (sorted({one.top for one in cut}), sorted({one.left for one in cut})):
        assert all(after - before <= tile - overlap for before, after in pairwise(starts))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("height", "width", "tile", "overlap"), SIZES)
def test_blending_crops_gives_the_map_back(
    height: int, width: int, tile: int, overlap: int, dtype: torch.dtype
) -> None:
    image = torch.randn(2, height, width, generator=torch.Generator().manual_seed(0)).to(dtype)
    parts = ((one, one.crop(image)) for one in tiles(height, width, tile=tile, overlap=overlap))
    joined = blend(parts, height=height, width=width)
    assert joined.dtype is dtype
    torch.testing.assert_close(joined, image)


def test_the_middle_of_a_tile_counts_more_than_its_border() -> None:
    left, right = tiles(8, 12, tile=8, overlap=4)
    joined = blend([(left, torch.zeros(1, 8, 8)), (right, torch.ones(1, 8, 8))], height=8, width=12)
    ramp = joined[0, 4]
    assert torch.equal(ramp[:4], torch.zeros(4))
    assert torch.equal(ramp[8:], torch.ones(4))
    assert bool((ramp[4:8].diff() > 0).all())
    torch.testing.assert_close(ramp[4:8] + ramp[4:8].flip(0), torch.ones(4))


def test_outputs_are_taken_one_by_one() -> None:
    alive = 0
    most = 0

    class Counted:
        def __init__(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def outputs() -> Iterator[tuple[Tile, Tensor]]:
        for one in tiles(50, 50, tile=10, overlap=2):
            output = torch.zeros(1, 10, 10)
            output.token = Counted()  # type: ignore[attr-defined]
            yield one, output
            del output

    blend(outputs(), height=50, width=50)
    assert most <= 2


def test_gradients_reach_the_tiles() -> None:
    cut = tiles(5, 6, tile=4, overlap=1)
    outputs = [torch.rand(1, 4, 4, dtype=torch.float64, requires_grad=True) for _ in cut]
    assert torch.autograd.gradcheck(lambda *given: blend(zip(cut, given, strict=True), height=5, width=6), outputs)


@pytest.mark.parametrize(
    ("size", "settings", "message"),
    [
        ((0, 5), {"tile": 4, "overlap": 0}, "the image is 0 x 5"),
        ((5, 5), {"tile": 0, "overlap": 0}, "a tile is 0"),
        ((5, 5), {"tile": 4, "overlap": 4}, "overlap is 4, expected 0 to 3 for tiles of 4"),
        ((5, 5), {"tile": 4, "overlap": -1}, "overlap is -1"),
        ((15000, 10000), {"tile": 64, "overlap": 63}, "would be .* tiles, expected at most 1000000"),
    ],
)
def test_impossible_cuts(size: tuple[int, int], settings: dict[str, int], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        tiles(*size, **settings)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([], "there are no tiles to blend"),
        ([(Tile(0, 0, 4, 4), torch.zeros(1, 3, 4))], r"has shape \(1, 3, 4\), expected \(1, 4, 4\)"),
        ([(Tile(0, 0, 4, 4), torch.zeros(4, 4))], r"expected \(4, 4, 4\)"),
        ([(Tile(0, 6, 4, 4), torch.zeros(1, 4, 4))], "does not lie inside a map of 4 x 8"),
        ([(Tile(0, -1, 4, 4), torch.zeros(1, 4, 4))], "does not lie inside"),
        ([(Tile(0, 0, 4, 4), torch.zeros(1, 4, 4))], "16 of 4 x 8 pixels are covered by no tile, .* row 0, column 4"),
        ([(Tile(0, 0, 4, 4), torch.zeros(1, 4, 4).long())], r"values are torch\.int64, expected a floating type"),
    ],
)
def test_impossible_outputs(outputs: list[tuple[Tile, Tensor]], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        blend(outputs, height=4, width=8)
