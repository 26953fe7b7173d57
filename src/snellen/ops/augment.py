"""The eight ways to turn and mirror an image, for averaging predictions at test time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.precision import accumulation_dtype

__all__ = ["DIHEDRAL_TRANSFORMS", "FLIPS", "DihedralTransform", "average_over"]


@dataclass(frozen=True, slots=True)
class DihedralTransform:
    """A symmetry of the square: mirror first, then turn. Only moves pixels; no value changes.

    Scalars at pixels (images, masks, scores) come out right. Vectors at pixels (offsets, flow) are moved, too, but not
    turned.

    Args:
        quarter_turns: Turns by 90 degrees against the clock, 0 to 3.
        mirrored: Whether left and right are exchanged first.

    Example:
        >>> turn = DihedralTransform(quarter_turns=1, mirrored=False)
        >>> turn.forward(torch.tensor([[1, 2, 3]])).tolist()
        [[3], [2], [1]]
        >>> turn.inverse(turn.forward(torch.tensor([[1, 2, 3]]))).tolist()
        [[1, 2, 3]]
    """

    quarter_turns: int
    mirrored: bool

    @property
    def swaps_sides(self) -> bool:
        """Whether height and width change places."""
        return self.quarter_turns % 2 == 1

    def forward(self, image: Tensor) -> Tensor:
        """Transform an image of shape `(..., H, W)`."""
        if self.mirrored:
            image = image.flip(-1)
        return torch.rot90(image, self.quarter_turns, (-2, -1))

    def inverse(self, image: Tensor) -> Tensor:
        """Undo `forward`."""
        image = torch.rot90(image, -self.quarter_turns, (-2, -1))
        return image.flip(-1) if self.mirrored else image


DIHEDRAL_TRANSFORMS: tuple[DihedralTransform, ...] = tuple(
    DihedralTransform(quarter_turns, mirrored) for mirrored in (False, True) for quarter_turns in range(4)
)
"""All eight; the first changes nothing."""

FLIPS: tuple[DihedralTransform, ...] = tuple(one for one in DIHEDRAL_TRANSFORMS if not one.swaps_sides)
"""The four that keep height and width: nothing, a half turn, left-right and upside-down."""


def average_over(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    transforms: Sequence[DihedralTransform] = DIHEDRAL_TRANSFORMS,
) -> Tensor:
    """Mean of the predictions for several views of an image, each turned back.

    Views are predicted one after the other: no more memory than one of them, and images need not be square.

    Args:
        predict: Maps `(..., H, W)` to `(..., H, W)` or another size; must accept the turned size as well.
        image: Shape `(..., H, W)`.
        transforms: The views.

    Returns:
        The mean, in the type of the predictions; summed in at least float32.

    Raises:
        ContractError: If there is no transform, a prediction is not floating, or they differ in shape once turned back.

    Example:
        >>> image = torch.rand(1, 3, 4, 6)
        >>> torch.allclose(average_over(torch.sqrt, image), image.sqrt())
        True
    """
    if not transforms:
        raise ContractError("there are no transforms to average over, expected at least one")
    first = transforms[0].inverse(predict(transforms[0].forward(image)))
    total = first.to(accumulation_dtype(first.dtype))
    for transform in transforms[1:]:
        prediction = transform.inverse(predict(transform.forward(image)))
        if prediction.shape != total.shape:
            raise ContractError(
                f"the prediction for {transform} has shape {tuple(prediction.shape)} once turned back, expected "
                f"{tuple(total.shape)} as for {transforms[0]}"
            )
        total = total + prediction
    return (total / len(transforms)).to(first.dtype)
