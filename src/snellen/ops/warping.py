"""Moving pixels along an optical flow."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.precision import accumulation_dtype

__all__ = ["warp", "warp_to_corners"]


def warp(
    image: Tensor,
    flow: Tensor,
    *,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    outside: Literal["zeros", "border"] = "zeros",
) -> Tensor:
    """Take every pixel from where the flow points.

    Positions are reckoned in float32 at least: bfloat16 cannot tell neighbouring pixels apart beyond column 256.

    Args:
        image: Shape `(B, C, H, W)`, an image or features.
        flow: Shape `(B, 2, H, W)`, in pixels; channel 0 is x (to the right), channel 1 is y (down).
        mode: Between pixels.
        outside: What stands beyond the border.

    Returns:
        Shape `(B, C, H, W)`, in the type of `image`.

    Raises:
        ContractError: If the flow is not of the image's size.

    Example:
        >>> right = torch.zeros(1, 2, 1, 3)
        >>> right[:, 0] = 1
        >>> warp(torch.tensor([[[[1.0, 2.0, 3.0]]]]), right).tolist()
        [[[[2.0, 3.0, 0.0]]]]
    """
    return _sample(image, *_positions(image, flow), mode, outside)


def warp_to_corners(image: Tensor, flow: Tensor, *, outside: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Take the four pixels around where the flow points, none of them blurred by interpolation.

    Args:
        image: Shape `(B, C, H, W)`.
        flow: Shape `(B, 2, H, W)`, as for `warp`.
        outside: What stands beyond the border.

    Returns:
        Shape `(B, 4 * C, H, W)`: the pixels at (floor x, floor y), (floor x, ceil y), (ceil x, floor y) and
        (ceil x, ceil y).

    Raises:
        ContractError: If the flow is not of the image's size.

    Example:
        >>> half = torch.zeros(1, 2, 1, 2)
        >>> half[:, 0] = 0.5
        >>> warp_to_corners(torch.tensor([[[[1.0, 2.0]]]]), half)[0, :, 0, 0].tolist()
        [1.0, 1.0, 2.0, 2.0]
    """
    x, y = _positions(image, flow)
    corners = [(column, row) for column in (x.floor(), x.ceil()) for row in (y.floor(), y.ceil())]
    return torch.cat([_sample(image, *corner, "nearest", outside) for corner in corners], dim=1)


def _positions(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row that each pixel is taken from, `(B, H, W)` each."""
    height, width = image.shape[-2:]
    if flow.shape != (len(image), 2, height, width):
        raise ContractError(
            f"an image of shape {tuple(image.shape)} with a flow of shape {tuple(flow.shape)}, "
            f"expected {(len(image), 2, height, width)}"
        )
    flow = flow.to(accumulation_dtype(flow.dtype))
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype).unsqueeze(1)
    return columns + flow[:, 0], rows + flow[:, 1]


def _sample(image: Tensor, x: Tensor, y: Tensor, mode: str, outside: str) -> Tensor:
    height, width = image.shape[-2:]
    grid = torch.stack((2.0 * x / max(width - 1, 1) - 1.0, 2.0 * y / max(height - 1, 1) - 1.0), dim=-1)
    sampled = F.grid_sample(image.to(grid.dtype), grid, mode=mode, padding_mode=outside, align_corners=True)
    return sampled.to(image.dtype)
