"""What is read off the diagonal blocks: the full matrix, the best matches, the scores of given pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import once_differentiable

from snellen.ops.diagonals import DiagonalBlock, PatchField, diagonal_blocks
from snellen.ops.patch_grid import PatchGrid
from snellen.ops.precision import full_precision, masking_value

__all__ = ["matrix_of", "score_pairs", "search_top_k"]


def matrix_of(field: PatchField) -> Tensor:
    """Correlation of all pairs of patches.

    Args:
        field: The prepared maps.

    Returns:
        Shape `(B, N, N)`. Differentiable once; the backward pass goes block by block, too.
    """
    matrix: Tensor = _Matrix.apply(field.grid, field.cells, field.scale, field.mean)  # type: ignore[no-untyped-call]
    return matrix


@torch.no_grad()
def search_top_k(field: PatchField, *, top_k: int, exclusion_radius: int, rows: int | None) -> tuple[Tensor, Tensor]:
    """Best matches of every patch, kept while the blocks pass by.

    Args:
        field: The prepared maps.
        top_k: Matches for each patch; every patch must have as many candidates.
        exclusion_radius: Largest excluded Chebyshev distance, in grid steps.
        rows: Patch rows in one block, see `diagonal_blocks`.

    Returns:
        Scores and flat indices, both of shape `(B, N, k)`, best first, without gradient.
    """
    columns = field.grid.columns
    shape = (field.grid.rows, field.cells.shape[1], columns, top_k)
    lowest = masking_value(field.cells.dtype)
    scores = field.cells.new_full(shape, lowest)
    indices = torch.zeros(shape, dtype=torch.int64, device=field.cells.device)
    column = torch.arange(columns, device=field.cells.device)
    beside = (column.unsqueeze(1) - column).abs() <= exclusion_radius
    for place in diagonal_blocks(field, rows=rows):
        block = field.block(place.step, place.first, place.last)
        if place.step <= exclusion_radius:
            block = block.masked_fill(beside, lowest)
        upper, lower = slice(place.first, place.last), slice(place.first + place.step, place.last + place.step)
        _keep_best(scores[upper], indices[upper], block, lower.start * columns)
        if place.step:
            _keep_best(scores[lower], indices[lower], block.transpose(2, 3), upper.start * columns)
    return scores.transpose(0, 1).flatten(1, 2), indices.transpose(0, 1).flatten(1, 2)


def score_pairs(field: PatchField, indices: Tensor, *, rows: int | None) -> Tensor:
    """Scores of given pairs of patches, with gradient.

    Args:
        field: The prepared maps.
        indices: Flat index of the partner of every patch, shape `(B, N, k)`.
        rows: Patch rows in one block, see `diagonal_blocks`.

    Returns:
        Scores, shape `(B, N, k)`.
    """
    columns = field.grid.columns
    query = torch.arange(field.grid.count, device=indices.device).unsqueeze(-1)
    upper, lower = torch.minimum(query, indices).flatten(), torch.maximum(query, indices).flatten()
    sample = torch.arange(indices.shape[0], device=indices.device).view(-1, 1, 1).expand_as(indices).flatten()
    step = lower // columns - upper // columns
    parts = []
    members: list[Tensor] = []
    for place in diagonal_blocks(field, rows=rows):
        row = upper // columns - place.first
        inside = (step == place.step) & (row >= 0) & (row < place.last - place.first)
        member = _positions(inside, first=not members)
        products = field.products(place.step, place.first, place.last)
        parts.append(products[row[member], sample[member], upper[member] % columns, lower[member] % columns])
        members.append(member)
    scores = torch.cat(parts)[torch.cat(members).argsort()]
    # Normalised only now: before the choice, the graph would hold every block for the gradient of the scale.
    ends = [(end // columns, sample, end % columns) for end in (upper, lower)]
    if field.mean is not None:
        scores = scores - field.mean[ends[0]] * field.mean[ends[1]]
    if field.scale is not None:
        scores = scores * (field.scale[ends[0]] * field.scale[ends[1]])
    return scores.view(indices.shape)


def _positions(inside: Tensor, *, first: bool) -> Tensor:
    """Where a mask is true. Of tensors without numbers, all pairs lie in the first block: the sum is what counts."""
    if inside.is_meta or isinstance(inside, FakeTensor):
        return torch.arange(inside.numel() if first else 0, device=inside.device)
    return inside.nonzero().squeeze(1)


def _keep_best(scores: Tensor, indices: Tensor, block: Tensor, first: int) -> None:
    """Merge candidates `block` (rows, B, columns, columns) into the running best (rows, B, columns, k), in place."""
    columns, top_k = block.shape[-1], scores.shape[-1]
    best = torch.cat([scores, block], dim=-1).topk(top_k, dim=-1)
    row_start = first + columns * torch.arange(block.shape[0], device=block.device).view(-1, 1, 1, 1)
    kept = indices.gather(-1, best.indices.clamp(max=top_k - 1))
    indices.copy_(torch.where(best.indices < top_k, kept, best.indices - top_k + row_start))
    scores.copy_(best.values)


class _Matrix(torch.autograd.Function):
    """Writes each block to its two places; autograd's own in-place slices would copy the matrix once a block."""

    @staticmethod
    def forward(ctx: Any, grid: PatchGrid, cells: Tensor, scale: Tensor | None, mean: Tensor | None) -> Tensor:
        field = PatchField(grid, cells, scale, mean)
        matrix = cells.new_empty(cells.shape[1], grid.rows, grid.columns, grid.rows, grid.columns)
        for place in diagonal_blocks(field):
            block = field.block(place.step, place.first, place.last)
            above, below = _places(matrix, place)
            above.copy_(block)
            below.copy_(block.transpose(2, 3))
        ctx.grid, ctx.shape = grid, matrix.shape
        ctx.save_for_backward(cells, scale, mean)
        return matrix.flatten(3, 4).flatten(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        leaves: list[Any] = [None if one is None else one.detach().requires_grad_() for one in ctx.saved_tensors]
        field = PatchField(ctx.grid, leaves[0], leaves[1], leaves[2])
        present = [leaf for leaf in leaves if leaf is not None]
        gradient = gradient.reshape(ctx.shape)
        for place in diagonal_blocks(field):
            above, below = _places(gradient, place)
            share = above if place.step == 0 else above + below.transpose(2, 3)
            with torch.enable_grad(), full_precision(gradient.device):
                block = field.block(place.step, place.first, place.last)
            torch.autograd.backward(block, share, inputs=present)
        return None, *(None if leaf is None else leaf.grad for leaf in leaves)


def _places(matrix: Tensor, place: DiagonalBlock) -> tuple[Tensor, Tensor]:
    """Views of the two places of a block in (B, rows, columns, rows, columns), both in the block's order of dims."""
    span = slice(place.first, place.last)
    above = matrix.diagonal(place.step, 1, 3)[..., span].permute(3, 0, 1, 2)
    below = matrix.diagonal(-place.step, 1, 3)[..., span].permute(3, 0, 1, 2)
    return above, below
