"""Where square patches lie on a feature map, and which of them may match each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snellen.errors import ContractError

__all__ = ["PatchGrid"]


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """Square patches cut from a map at regular steps, without padding.

    Patch `(row, column)` covers the map rows `row * stride` to `row * stride + patch - 1`, the columns likewise; its
    flat index is `row * columns + column`. What remains at the right and bottom edge belongs to no patch.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        patch: Side of a patch, in cells of the map.
        stride: Step from one patch to the next, in cells of the map.

    Raises:
        ContractError: If patch or stride is below 1, or the patch is larger than the map.

    Example:
        >>> grid = PatchGrid(height=100, width=100, patch=12, stride=4)
        >>> grid.rows, grid.columns, grid.count
        (23, 23, 529)
    """

    height: int
    width: int
    patch: int
    stride: int

    def __post_init__(self) -> None:
        if self.patch < 1 or self.stride < 1:
            raise ContractError(f"patch is {self.patch} and stride is {self.stride}, expected both to be at least 1")
        if self.patch > min(self.height, self.width):
            raise ContractError(
                f"a patch of {self.patch} x {self.patch} does not fit a feature map of {self.height} x {self.width}",
                hint=f"use a patch of at most {min(self.height, self.width)}, or a larger image",
            )

    @classmethod
    def of(cls, features: Tensor, *, patch: int, stride: int) -> PatchGrid:
        """Grid on a batch of feature maps.

        Args:
            features: Shape `(B, C, H, W)`, floating.
            patch: Side of a patch, in cells of the map.
            stride: Step between patches, in cells of the map.

        Raises:
            ContractError: If the shape, the type or the sizes cannot be used.
        """
        if features.ndim != 4 or features.shape[1] == 0:
            raise ContractError(
                f"features have shape {tuple(features.shape)}, expected (B, C, H, W) with C of at least 1"
            )
        if not features.dtype.is_floating_point:
            raise ContractError(f"features are {features.dtype}, expected a floating type", hint="use features.float()")
        return cls(height=features.shape[-2], width=features.shape[-1], patch=patch, stride=stride)

    @property
    def rows(self) -> int:
        """Patches from top to bottom."""
        return (self.height - self.patch) // self.stride + 1

    @property
    def columns(self) -> int:
        """Patches from left to right."""
        return (self.width - self.patch) // self.stride + 1

    @property
    def count(self) -> int:
        """All patches."""
        return self.rows * self.columns

    def fewest_candidates(self, exclusion_radius: int) -> int:
        """Candidates left to the patch that loses most of them, the one in the middle.

        Args:
            exclusion_radius: Patches at most this many grid steps away (Chebyshev distance) are no candidates.

        Example:
            >>> PatchGrid(height=100, width=100, patch=12, stride=4).fewest_candidates(2)
            504
        """
        side = 2 * exclusion_radius + 1
        return self.count - min(side, self.rows) * min(side, self.columns)

    def check_matches(self, *, top_k: int, exclusion_radius: int) -> None:
        """Make sure that every patch has `top_k` candidates.

        Args:
            top_k: Matches wanted for each patch.
            exclusion_radius: See `fewest_candidates`.

        Raises:
            ContractError: If there are fewer candidates, or a number is out of range; the numbers are named.
        """
        if top_k < 1 or exclusion_radius < 0:
            raise ContractError(
                f"top_k is {top_k} and exclusion_radius is {exclusion_radius}, expected at least 1 and at least 0"
            )
        left = self.fewest_candidates(exclusion_radius)
        if top_k > left:
            raise ContractError(
                f"top_k is {top_k}, but of {self.rows} x {self.columns} patches an exclusion radius of "
                f"{exclusion_radius} leaves only {left} candidates to some",
                hint="use a smaller top_k or exclusion_radius, a smaller stride, or a larger image",
            )

    def too_close(self, queries: Tensor, exclusion_radius: int) -> Tensor:
        """Patches that may not match a query because they overlap it or lie beside it.

        Args:
            queries: Flat indices of patches, shape `(Q,)`.
            exclusion_radius: Largest excluded Chebyshev distance, in grid steps.

        Returns:
            Boolean, shape `(Q, count)`, true where excluded. The patch itself always is.
        """
        every = torch.arange(self.count, device=queries.device)
        down = _distance(queries // self.columns, every // self.columns)
        right = _distance(queries % self.columns, every % self.columns)
        return torch.maximum(down, right) <= exclusion_radius

    def offsets(self, matches: Tensor) -> Tensor:
        """Where a match lies, seen from its query.

        Args:
            matches: Flat indices of the matched patches, shape `(B, k, rows, columns)`.

        Returns:
            Integer, shape `(B, k, 2, rows, columns)`: `(dx, dy)` in cells of the feature map, `x` to the right and `y`
            down.
        """
        column = torch.arange(self.columns, device=matches.device)
        row = torch.arange(self.rows, device=matches.device).unsqueeze(1)
        return torch.stack([matches % self.columns - column, matches // self.columns - row], dim=2) * self.stride


def _distance(left: Tensor, right: Tensor) -> Tensor:
    return (left.unsqueeze(1) - right.unsqueeze(0)).abs()
