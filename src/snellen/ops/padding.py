"""Padding to the sizes that a network accepts, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from snellen.errors import ContractError

__all__ = ["Padding", "PaddingMode", "common_multiple", "pad_to_multiple", "unpad"]

PaddingMode = Literal["reflect", "replicate", "constant"]
"""`reflect`: mirrored without repeating the border pixel. `replicate`: the border pixel. `constant`: one value."""


@dataclass(frozen=True, slots=True)
class Padding:
    """What was added to an image, so that it can be taken off again.

    Only the bottom and the right grow: a pixel keeps its coordinates.

    Args:
        height: Rows before padding.
        width: Columns before padding.
        bottom: Rows added.
        right: Columns added.
    """

    height: int
    width: int
    bottom: int
    right: int


def common_multiple(*multiples: int) -> int:
    """Smallest side that satisfies every part of a network.

    Padding to the stride of the decoder alone fails in the backbone: 32 is no multiple of a ViT's patch of 14.

    Args:
        *multiples: What each part wants the sides to be a multiple of, each at least 1.

    Returns:
        The least common multiple; 1 if none is given.

    Raises:
        ContractError: If a number is below 1.

    Example:
        >>> common_multiple(14, 32)
        224
    """
    for multiple in multiples:
        if multiple < 1:
            raise ContractError(f"a multiple is {multiple}, expected at least 1")
    return math.lcm(*multiples)


def pad_to_multiple(
    image: Tensor, multiple: int, *, mode: PaddingMode = "reflect", value: float = 0.0
) -> tuple[Tensor, Padding]:
    """Enlarge an image at the bottom and the right until both sides are multiples of `multiple`.

    Args:
        image: Shape `(..., H, W)`, any type; both sides at least 1.
        multiple: See `common_multiple`.
        mode: Where the new pixels come from. A mirror needs more pixels than it adds: an axis that is too short for
            `reflect` is padded as by `replicate`.
        value: The new pixels for `constant`.

    Returns:
        The image, the same tensor if nothing is missing, and what `unpad` needs.

    Raises:
        ContractError: If a side is 0, `multiple` is below 1 or `mode` is unknown.

    Example:
        >>> padded, padding = pad_to_multiple(torch.tensor([[1, 2, 3]]), 5)
        >>> padded[0].tolist(), padded.shape[0]
        ([1, 2, 3, 2, 1], 5)
        >>> unpad(padded, padding).tolist()
        [[1, 2, 3]]
    """
    if image.ndim < 2 or 0 in image.shape[-2:]:
        raise ContractError(f"the image has shape {tuple(image.shape)}, expected (..., H, W) with sides of at least 1")
    if mode not in ("reflect", "replicate", "constant"):
        raise ContractError(f"mode is {mode!r}, expected 'reflect', 'replicate' or 'constant'")
    multiple = common_multiple(multiple)
    height, width = image.shape[-2:]
    padding = Padding(height=height, width=width, bottom=-height % multiple, right=-width % multiple)
    if mode == "constant":
        if padding.bottom or padding.right:
            image = F.pad(image, (0, padding.right, 0, padding.bottom), value=value)
        return image, padding
    # By index, because `F.pad` mirrors neither integers nor masks, nor tensors of more than five dimensions.
    for dim, added in ((-2, padding.bottom), (-1, padding.right)):
        if added:
            image = image.index_select(dim, _continued(image.shape[dim], added, mode, image.device))
    return image, padding


def unpad(tensor: Tensor, padding: Padding) -> Tensor:
    """Take off what `pad_to_multiple` added.

    Args:
        tensor: Shape `(..., H, W)` of the padded size; not necessarily the image itself, a mask predicted from it too.
        padding: Second result of `pad_to_multiple`.

    Returns:
        A view of the original size.

    Raises:
        ContractError: If the tensor does not have the padded size.
    """
    expected = (padding.height + padding.bottom, padding.width + padding.right)
    if tuple(tensor.shape[-2:]) != expected:
        raise ContractError(
            f"the tensor has shape {tuple(tensor.shape)}, expected the padded size {expected}",
            hint="bring the output to the size of the padded input before taking the padding off",
        )
    return tensor[..., : padding.height, : padding.width]


def _continued(size: int, added: int, mode: PaddingMode, device: torch.device) -> Tensor:
    """Indices of the pixels that stand at 0 to `size + added - 1`."""
    position = torch.arange(size + added, device=device)
    last = size - 1
    if mode == "reflect" and added <= last:
        return last - (last - position).abs()
    return position.clamp(max=last)
