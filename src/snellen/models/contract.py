"""What a model part takes and gives, as frozen data that can be composed and checked.

Data is adapted to contracts, never the other way round. Sides are in pixels of the model's input; sizes are
`(height, width)`; tensors are `(B, C, H, W)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.padding import common_multiple

__all__ = ["Contract", "check_features", "check_image", "common_side_multiple", "normalise", "padded_size"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What one part takes and gives.

    Args:
        part: The part's name, for people: `backbone vit_small_patch14_dinov2`.
        in_channels: Channels of the input.
        out_channels: Channels of the output, `None` when the part gives no feature map.
        colour: Order of the colour channels.
        value_range: Range of the input before `mean` and `std` are applied.
        mean: Per channel, in units of `value_range`.
        std: Per channel, in units of `value_range`.
        layout: Layout of input and output.
        side_multiple: Both sides of the input must be multiples of this.
        stride: Input pixels per output position.
        licence: Licence of the pretrained weights, when they are used.
        weights: Where the weights came from; `random` says that they are untrained.

    Example:
        >>> backbone = Contract(part="backbone", side_multiple=14, stride=14)
        >>> decoder = Contract(part="decoder", side_multiple=32)
        >>> common_side_multiple([backbone, decoder])
        224
    """

    part: str
    in_channels: int = 3
    out_channels: int | None = None
    colour: Literal["RGB", "BGR"] = "RGB"
    value_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    layout: Literal["NCHW"] = "NCHW"
    side_multiple: int = 1
    stride: int = 1
    licence: str | None = None
    weights: str = "random"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for checks and for the run folder."""
        return {name: getattr(self, name) for name in self.__slots__}


def common_side_multiple(contracts: Sequence[Contract]) -> int:
    """The least side multiple that fits every part: the least common multiple of theirs."""
    return common_multiple(*(contract.side_multiple for contract in contracts))


def padded_size(height: int, width: int, multiple: int) -> tuple[int, int]:
    """The smallest size at least as large whose sides are multiples of `multiple`.

    Example:
        >>> padded_size(440, 600, 224)
        (448, 672)
    """
    return math.ceil(height / multiple) * multiple, math.ceil(width / multiple) * multiple


def check_image(images: Tensor, contracts: Sequence[Contract]) -> None:
    """Refuse a batch of images that breaks a contract.

    Args:
        images: Shape `(B, C, H, W)`.
        contracts: Of all the parts that take these images.

    Raises:
        ContractError: Wrong rank, channels, layout or size; names the part and, where it can be computed, the size
            that would do.
    """
    if images.ndim != 4:
        raise ContractError(
            f"images of shape {tuple(images.shape)}, expected (B, C, H, W)",
            hint="add the batch axis with images.unsqueeze(0)" if images.ndim == 3 else None,
        )
    if not images.is_floating_point():
        raise ContractError(
            f"images of dtype {images.dtype}, expected a floating dtype",
            hint="scale to the model's value range first: images.float() / 255",
        )
    _, channels, height, width = images.shape
    for contract in contracts:
        if channels != contract.in_channels:
            swapped = images.shape[3] == contract.in_channels
            raise ContractError(
                f"{contract.part} takes (B, {contract.in_channels}, H, W), given {tuple(images.shape)}"
                + (", which looks like (B, H, W, C)" if swapped else ""),
                hint="images.permute(0, 3, 1, 2)" if swapped else "convert the images to RGB",
                slug="layout-scrambled" if swapped else "channel-mismatch",
            )
    multiple = common_side_multiple(contracts)
    if height % multiple or width % multiple:
        parts = ", ".join(f"{contract.part} needs multiples of {contract.side_multiple}" for contract in contracts)
        target = padded_size(height, width, multiple)
        raise ContractError(
            f"images of {height} x {width} (height x width); {parts}",
            hint=f"pad to {target[0]} x {target[1]} (multiples of {multiple}, the least common multiple)",
            slug="padding-not-lcm",
        )


def check_features(features: Tensor, contract: Contract, image_size: tuple[int, int]) -> None:
    """Refuse a feature map in another layout than the contract says.

    Args:
        features: What the part gave.
        contract: The part's contract, with `out_channels`.
        image_size: `(height, width)` of the input it was given.

    Raises:
        ContractError: Names both layouts when the axes were permuted.
    """
    height, width = image_size[0] // contract.stride, image_size[1] // contract.stride
    expected = (features.shape[0], contract.out_channels, height, width)
    if tuple(features.shape) == expected:
        return
    given = tuple(features.shape)
    layouts = {
        "(B, H, W, C)": (expected[0], height, width, expected[1]),
        "(B, W, C, H)": (expected[0], width, expected[1], height),
        "(B, tokens, C)": (expected[0], height * width, expected[1]),
    }
    looks = next((name for name, shape in layouts.items() if given == shape), None)
    raise ContractError(
        f"{contract.part} promises features (B, C, H, W) = {expected}, given {given}"
        + (f", which is {looks}" if looks else ""),
        hint="timm and DINOv2 return (B, C, H, W) already with reshape=True; remove the permute"
        if looks
        else "the contract and the network do not belong together",
        slug="layout-scrambled",
    )


def normalise(images: Tensor, contract: Contract) -> Tensor:
    """Shift and scale images, values 0 to 1, to what a part takes.

    Example:
        >>> normalise(torch.ones(1, 3, 2, 2), Contract(part="p", mean=(0.5,) * 3, std=(0.5,) * 3)).max().item()
        1.0
    """
    low, high = contract.value_range
    mean = torch.tensor(contract.mean, dtype=images.dtype, device=images.device)[:, None, None]
    std = torch.tensor(contract.std, dtype=images.dtype, device=images.device)[:, None, None]
    return (images * (high - low) + low - mean) / std
