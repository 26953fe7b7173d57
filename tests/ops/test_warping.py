"""Moving pixels along a flow."""

from __future__ import annotations

import pytest
import torch

from snellen.errors import ContractError
from snellen.ops.warping import warp, warp_to_corners


def flow(x: float, y: float, *, height: int = 4, width: int = 6) -> torch.Tensor:
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).expand(1, 2, height, width)


def test_whole_pixels_are_taken_as_they_are() -> None:
    image = torch.rand(1, 2, 4, 6)
    moved = warp(image, flow(2, 1), mode="nearest")
    assert torch.equal(moved[..., :3, :4], image[..., 1:, 2:])
    assert moved[..., 3, :].count_nonzero() == moved[..., 4:].count_nonzero() == 0
    assert torch.equal(warp(image, flow(9, 9), mode="nearest", outside="border")[0, :, 0, 0], image[0, :, -1, -1])


def test_the_corners_are_the_four_pixels_around() -> None:
    image = torch.arange(24.0).view(1, 1, 4, 6)
    assert warp_to_corners(image, flow(0.25, 0.75))[0, :, 1, 1].tolist() == [7.0, 13.0, 8.0, 14.0]


def test_bfloat16_tells_columns_apart_beyond_256() -> None:
    image = torch.arange(600.0).remainder(7).view(1, 1, 1, 600).bfloat16()
    still = torch.zeros(1, 2, 1, 600, dtype=torch.bfloat16)
    moved = warp(image, still)
    assert moved.dtype == torch.bfloat16
    torch.testing.assert_close(moved, image, atol=0.05, rtol=0)


def test_an_image_of_one_pixel_is_warped() -> None:
    assert warp(torch.ones(1, 1, 1, 1), flow(0, 0, height=1, width=1)).item() == 1.0


def test_a_flow_of_another_size_is_refused() -> None:
    with pytest.raises(ContractError, match=r"image of shape \(1, 3, 4, 6\) .* flow of shape \(1, 2, 4, 5\)"):
        warp(torch.zeros(1, 3, 4, 6), flow(0, 0, width=5))
