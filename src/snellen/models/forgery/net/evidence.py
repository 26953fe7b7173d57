"""What a self-correlation says about copying, as maps that a decoder can read.

A high score alone does not tell a copy from sky, grass or a repeated window. A copy moves as one piece: neighbouring
positions match with nearly the same offset; the match of a match leads back; and there is one place that matches, not
many. These facts are computed here, for the kept matches of every position.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from snellen.ops.self_correlation import TopMatches

__all__ = ["evidence_channels", "matching_evidence"]

_WINDOW = 5
_SAME_PLACE = 2.0


def evidence_channels(top_k: int) -> int:
    """Number of maps that `matching_evidence` gives for `top_k` kept matches."""
    return 3 * top_k + 1


def matching_evidence(matches: TopMatches) -> Tensor:
    """Scores, agreement, reciprocity and distinctiveness of the kept matches.

    Args:
        matches: Of `(B, k, rows, columns)` positions, offsets in cells.

    Returns:
        Shape `(B, 3 * k + 1, rows, columns)`, values in -1 to 2. For each kept match its score, the share of the
        5 x 5 neighbours that match with the same offset (up to 2 cells), and how exactly the match leads back (1 for
        exactly, falling with the distance); then one map of distinctiveness: the best score minus the best one among
        matches at another place. Gradients flow through the scores alone.
    """
    offsets = matches.offsets.to(matches.scores.dtype)
    error = (offsets + _offset_at_match(offsets[:, :1], matches.indices)).norm(dim=2)
    elsewhere = (offsets - offsets[:, :1]).norm(dim=2) > _SAME_PLACE
    rival = torch.where(elsewhere, matches.scores, -1.0).amax(dim=1, keepdim=True).clamp_min(0)
    distinctiveness = matches.scores[:, :1] - rival
    return torch.cat([matches.scores, _agreement(offsets), torch.exp(-0.5 * error), distinctiveness], dim=1)


def _agreement(offsets: Tensor) -> Tensor:
    """Share of neighbours with the same offset; shape `(B, k, rows, columns)`."""
    batch, kept, _, rows, columns = offsets.shape
    flat = offsets.reshape(batch * kept, 2, rows, columns)
    framed = F.pad(flat, (_WINDOW // 2,) * 4, mode="replicate")
    agreeing = torch.zeros_like(flat[:, 0])
    # One shifted comparison at a time keeps the memory at that of the offsets themselves.
    for row in range(_WINDOW):
        for column in range(_WINDOW):
            shifted = framed[:, :, row : row + rows, column : column + columns]
            agreeing += (shifted - flat).norm(dim=1) <= _SAME_PLACE
    return ((agreeing - 1) / (_WINDOW**2 - 1)).reshape(batch, kept, rows, columns)


def _offset_at_match(best: Tensor, indices: Tensor) -> Tensor:
    """The best offset at the position that each match leads to; shape `(B, k, 2, rows, columns)`."""
    batch, kept, rows, columns = indices.shape
    source = best[:, 0].reshape(batch, 2, rows * columns)
    flat = indices.reshape(batch, 1, -1).expand(-1, 2, -1)
    gathered = source.gather(2, flat).reshape(batch, 2, kept, rows, columns)
    return gathered.transpose(1, 2)
