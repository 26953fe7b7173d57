"""Self-correlation of a feature map: which patches of an image look like which others.

Two descriptors of a patch, both without unfolding the map:

- `pooled_self_correlation`: the mean feature of the patch. Cheap; blind to the arrangement inside the patch.
- `dense_patch_correlation`, `dense_patch_top_k`: all features of the patch in their places, exact.

`torch.nn.functional.unfold` copies each cell of the map up to `patch * patch` times: 0.87 GiB in float32 for 8 maps of
384 x 100 x 100 with patch 12 and stride 4, 13 GiB with stride 1. Nothing here does, and top-k search never holds the
whole matrix of scores.

All arithmetic is in float32 (float64 for float64 input), also under autocast and for half inputs, so that float16 and
bfloat16 differ from float32 only by the rounding of the input (the tests allow 1e-3 and 1e-2 in a cosine). Gradients
flow through the scores into the features; indices and offsets have none. Features that are not finite give NaN scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.dense_search import matrix_of, score_pairs, search_top_k
from snellen.ops.diagonals import Normalisation, prepare_field
from snellen.ops.patch_grid import PatchGrid
from snellen.ops.precision import accumulation_dtype, full_precision, masking_value

__all__ = [
    "Normalisation",
    "TopMatches",
    "dense_patch_correlation",
    "dense_patch_top_k",
    "masking_value",
    "pooled_self_correlation",
]

# Scores held at a time by the pooled search (4 MB in float32).
_TILE_NUMBERS = 1 << 20


@dataclass(frozen=True, slots=True)
class TopMatches:
    """The best matches of every patch, best first.

    Args:
        scores: Shape `(B, k, rows, columns)`, float32 or float64, descending along `k`. Cosine scores lie in -1 to 1 up
            to rounding.
        indices: Flat index of the matched patch, `row * columns + column`, same shape, int64. Among equal scores the
            order is that of `torch.topk`.
        offsets: Shape `(B, k, 2, rows, columns)`, int64: `(dx, dy)` from the patch to its match in cells of the feature
            map (grid steps times stride), `x` to the right and `y` down.
    """

    scores: Tensor
    indices: Tensor
    offsets: Tensor


def pooled_self_correlation(
    features: Tensor,
    *,
    patch: int = 12,
    stride: int = 4,
    top_k: int = 5,
    exclusion_radius: int = 2,
    tile: int | None = None,
) -> TopMatches:
    """Best matches of every patch by the cosine of mean features.

    The numbers are those of `unfold`, mean over the patch, L2 normalisation and a full matrix of cosines. A patch whose
    mean feature is 0 scores 0 with all others.

    Args:
        features: Shape `(B, C, H, W)`, floating.
        patch: Side of a patch, in cells of the feature map.
        stride: Step between patches, in cells of the feature map.
        top_k: Matches kept for each patch.
        exclusion_radius: Patches at most this many grid steps away do not count as matches; the distance is Chebyshev,
            `max(|rows|, |columns|) <= exclusion_radius`. With 0 only the patch itself is left out.
        tile: Patches that are compared with all others at a time; bounds the memory, changes results by rounding at
            most. None keeps a tile near 4 MB.

    Returns:
        The matches.

    Raises:
        ContractError: If the patch is larger than the map, or fewer than `top_k` candidates are left to some patch, or
            shape, type or a number cannot be used.

    Example:
        >>> features = torch.zeros(1, 2, 4, 12)
        >>> features[..., 0:4] = features[..., 8:12] = 1.0
        >>> pooled_self_correlation(features, patch=4, stride=4, top_k=1, exclusion_radius=0).indices.tolist()
        [[[[2, 0, 0]]]]
    """
    grid = PatchGrid.of(features, patch=patch, stride=stride)
    grid.check_matches(top_k=top_k, exclusion_radius=exclusion_radius)
    if tile is None:
        tile = max(1, _TILE_NUMBERS // max(1, features.shape[0] * grid.count))
    if tile < 1:
        raise ContractError(f"tile is {tile}, expected at least 1")
    with full_precision(features.device):
        descriptors = F.normalize(_patch_means(features, grid).flatten(2), dim=1)
        sample = torch.arange(features.shape[0], device=features.device).view(-1, 1, 1)
        scores, indices = [], []
        for start in range(0, grid.count, tile):
            queries = torch.arange(start, min(start + tile, grid.count), device=features.device)
            cosines = descriptors[..., start : start + tile].transpose(1, 2) @ descriptors
            # Chosen on a masked copy, then read from the original by index: the graph keeps neither mask nor scores,
            # where `gather` would keep the scores of every tile.
            masked = cosines.detach().masked_fill(
                grid.too_close(queries, exclusion_radius), masking_value(cosines.dtype)
            )
            best = masked.topk(top_k, dim=-1).indices
            scores.append(cosines[sample, (queries - start).view(1, -1, 1), best])
            indices.append(best)
    return _matches(torch.cat(scores, dim=1), torch.cat(indices, dim=1), grid)


def dense_patch_correlation(
    features: Tensor, *, patch: int = 12, stride: int = 1, normalisation: Normalisation = "cosine"
) -> Tensor:
    """Correlation of every patch with every other one, whole descriptors of `C * patch * patch` numbers.

    The numbers are those of `unfold` followed by a matrix product. The result itself grows with the square of the
    number of patches: for more than some thousand of them use `dense_patch_top_k`.

    Args:
        features: Shape `(B, C, H, W)`, floating.
        patch: Side of a patch, in cells of the feature map.
        stride: Step between patches, in cells of the feature map.
        normalisation: `"none"` for inner products, `"cosine"` to divide by both norms, `"zero-mean"` to take the mean
            of all `C * patch * patch` numbers off each descriptor first. A patch that is 0 (or, for `"zero-mean"`,
            whose energy of contrast is below one millionth of its energy) scores 0 with all others and itself.

    Returns:
        Shape `(B, N, N)` with `N` patches in row-major order, symmetric, float32 or float64.

    Raises:
        ContractError: If the patch is larger than the map, or shape, type or a number cannot be used.

    Example:
        >>> features = torch.tensor([[[[1.0, 2.0, 1.0, 2.0]]]])
        >>> dense_patch_correlation(features, patch=1, stride=1, normalisation="none")[0, 0].tolist()
        [1.0, 2.0, 1.0, 2.0]
    """
    grid = PatchGrid.of(features, patch=patch, stride=stride)
    with full_precision(features.device):
        return matrix_of(prepare_field(features, grid, normalisation=normalisation))


def dense_patch_top_k(
    features: Tensor,
    *,
    patch: int = 12,
    stride: int = 1,
    top_k: int = 5,
    exclusion_radius: int = 2,
    normalisation: Normalisation = "cosine",
    tile_rows: int | None = None,
) -> TopMatches:
    """Best matches of every patch by the exact correlation of whole patches; the matrix of scores is never stored.

    Memory grows with the number of patches, not with its square. When a gradient is wanted, the winning pairs are
    scored once more with autograd, tile by tile, so that this also holds for training.

    Args:
        features: Shape `(B, C, H, W)`, floating.
        patch: Side of a patch, in cells of the feature map.
        stride: Step between patches, in cells of the feature map.
        top_k: Matches kept for each patch.
        exclusion_radius: As in `pooled_self_correlation`: Chebyshev distance in grid steps. Patches share cells up to a
            distance of `(patch - 1) // stride`; a smaller radius lets a patch match its own neighbourhood.
        normalisation: As in `dense_patch_correlation`.
        tile_rows: Patch rows correlated at a time; bounds the memory, changes results by rounding at most. None keeps a
            tile near 16 MB.

    Returns:
        The matches.

    Raises:
        ContractError: If the patch is larger than the map, or fewer than `top_k` candidates are left to some patch, or
            shape, type or a number cannot be used.

    Example:
        >>> features = torch.tensor([[[[1.0, 2.0, 0.5, 5.0, 3.0, 4.0]]]])
        >>> matches = dense_patch_top_k(features, patch=1, top_k=1, exclusion_radius=1, normalisation="none")
        >>> matches.offsets[0, 0, 0, 0].tolist()
        [3, 2, 3, 2, -3, -2]
    """
    grid = PatchGrid.of(features, patch=patch, stride=stride)
    grid.check_matches(top_k=top_k, exclusion_radius=exclusion_radius)
    with full_precision(features.device):
        field = prepare_field(features, grid, normalisation=normalisation)
        scores, indices = search_top_k(field, top_k=top_k, exclusion_radius=exclusion_radius, rows=tile_rows)
        if torch.is_grad_enabled() and features.requires_grad:
            scores = score_pairs(field, indices, rows=tile_rows)
    return _matches(scores, indices, grid)


def _matches(scores: Tensor, indices: Tensor, grid: PatchGrid) -> TopMatches:
    """Bring scores and indices of shape (B, N, k) into map shape."""
    shape = (grid.rows, grid.columns)
    indices = torch.unflatten(indices.transpose(1, 2), 2, shape).contiguous()
    return TopMatches(torch.unflatten(scores.transpose(1, 2), 2, shape).contiguous(), indices, grid.offsets(indices))


def _patch_means(features: Tensor, grid: PatchGrid) -> Tensor:
    """Mean feature of every patch, shape (B, C, rows, columns), accumulated in at least float32."""
    divisor = math.gcd(grid.patch, grid.stride)
    dtype = accumulation_dtype(features.dtype)

    def pooled(maps: Tensor) -> Tensor:
        # Means of means over equal parts: the cells that overlapping patches share are summed once.
        parts = F.avg_pool2d(maps.to(dtype), divisor)
        return F.avg_pool2d(parts, grid.patch // divisor, grid.stride // divisor)

    if features.dtype is dtype:
        return pooled(features)
    # One map at a time, so that the float32 copy is that of one map, not of the batch.
    return torch.cat([pooled(single) for single in torch.split(features, 1)])
