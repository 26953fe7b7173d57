"""The loss for copied areas that are a small part of the image."""

from __future__ import annotations

from torch import Tensor

from snellen.ops.losses import focal_bce_loss, tversky_loss

__all__ = ["forgery_loss"]


def forgery_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal cross-entropy for every pixel, plus a Tversky term for the region as a whole.

    Cross-entropy alone is content with an empty mask when one pixel in fifty is copied; the Tversky term, which weighs
    missed pixels above false ones, is not.

    Args:
        logits: Shape `(B, 1, H, W)`.
        target: Same shape, 0 or 1.

    Returns:
        Scalar, at least 0.

    Source: Salehi et al., Tversky loss, https://arxiv.org/abs/1706.05721; Lin et al., focal loss,
    https://arxiv.org/abs/1708.02002
    """
    return focal_bce_loss(logits, target, alpha=None, gamma=1.0) + tversky_loss(logits, target)
