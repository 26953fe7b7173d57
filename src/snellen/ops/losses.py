"""Losses for masks in which the region is tiny: overlap that background cannot dominate, and focal cross-entropy.

All are computed in float32 (float64 stays), also under autocast: the sum over the pixels of one image leaves the range
of float16. Every image counts the same, whatever else is in the batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.precision import accumulation_dtype, full_precision

__all__ = ["dice_loss", "focal_bce_loss", "tversky_loss"]


def tversky_loss(
    logits: Tensor, target: Tensor, *, alpha: float = 0.3, beta: float = 0.7, smooth: float = 1.0, gamma: float = 1.0
) -> Tensor:
    """One minus the Tversky index of soft masks, mean over the images of the batch.

    The index of an image is `(TP + smooth) / (TP + alpha FP + beta FN + smooth)` with soft counts over its pixels. An
    image without a region gets `1 - smooth / (alpha FP + smooth)`: 0 when nothing is predicted.

    Args:
        logits: Shape `(B, ...)`, before the sigmoid; all but the first dimension belong to one mask.
        target: Same shape, 0 to 1 (bool, integer or floating; soft values allowed).
        alpha: Weight of false positives.
        beta: Weight of false negatives. Above `alpha`, tiny regions are missed less often.
        smooth: In pixels, above 0. Keeps empty masks defined; the larger, the less a miss of a few pixels costs.
        gamma: Exponent on the loss of an image, at least 1: above 1, images that are already good count less. Below 1
            the gradient of a perfect image would be infinite.

    Returns:
        Scalar, 0 to 1.

    Raises:
        ContractError: If the shapes differ, nothing is given or a number is out of range.

    Source:
        Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks", 2017;
        Abraham and Khan, "A novel focal Tversky loss function", 2019 (there the exponent is `1 / gamma`).

    Example:
        >>> logits = torch.full((2, 1, 8, 8), -50.0)
        >>> round(tversky_loss(logits, torch.zeros(2, 1, 8, 8)).item(), 6)
        0.0
    """
    if min(alpha, beta) < 0 or alpha + beta <= 0:
        raise ContractError(f"alpha is {alpha} and beta is {beta}, expected neither below 0 and one above")
    if smooth <= 0 or gamma < 1:
        raise ContractError(f"smooth is {smooth} and gamma is {gamma}, expected above 0 and at least 1")
    with full_precision(logits.device):
        logits, target = (values.flatten(1) for values in _prepared(logits, target))
        # `sigmoid(-x)` where `1 - sigmoid(x)` would round to 0.
        inside, outside = logits.sigmoid(), (-logits).sigmoid()
        hit = (inside * target).sum(dim=1)
        false_alarm = (inside * (1 - target)).sum(dim=1)
        miss = (outside * target).sum(dim=1)
        wrong = alpha * false_alarm + beta * miss
        # The same as one minus the index, without the cancellation near a perfect mask.
        return (wrong / (hit + wrong + smooth)).pow(gamma).mean()


def dice_loss(logits: Tensor, target: Tensor, *, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice coefficient: `tversky_loss` with both weights one half.

    Args:
        logits: Shape `(B, ...)`, before the sigmoid.
        target: Same shape, 0 to 1.
        smooth: In pixels, above 0.

    Returns:
        Scalar, 0 to 1.

    Raises:
        ContractError: As `tversky_loss`.

    Example:
        >>> round(dice_loss(torch.full((1, 4), 50.0), torch.tensor([[1.0, 1.0, 0.0, 0.0]]), smooth=1e-6).item(), 3)
        0.333
    """
    return tversky_loss(logits, target, alpha=0.5, beta=0.5, smooth=smooth)


def focal_bce_loss(logits: Tensor, target: Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0) -> Tensor:
    """Binary cross-entropy in which pixels that are already right count less, mean over all pixels.

    Args:
        logits: Shape `(B, ...)`, before the sigmoid.
        target: Same shape, 0 to 1 (bool, integer or floating; soft values allowed).
        alpha: Weight of the region, 0 to 1; the background gets `1 - alpha`. None weighs both 1.
        gamma: Exponent on the probability of the wrong answer, at least 0; 0 is plain cross-entropy.

    Returns:
        Scalar, at least 0.

    Raises:
        ContractError: If the shapes differ, nothing is given or a number is out of range.

    Source:
        Lin et al., "Focal loss for dense object detection", 2017.

    Example:
        >>> round(focal_bce_loss(torch.zeros(1, 4), torch.ones(1, 4), alpha=None, gamma=0.0).item(), 4)
        0.6931
    """
    if (alpha is not None and not 0 <= alpha <= 1) or gamma < 0:
        raise ContractError(f"alpha is {alpha} and gamma is {gamma}, expected 0 to 1 (or None) and at least 0")
    with full_precision(logits.device):
        logits, target = _prepared(logits, target)
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        if gamma > 0:
            wrong = logits.sigmoid() * (1 - target) + (-logits).sigmoid() * target
            # Not 0: for gamma below 1 the slope of the power there is infinite.
            loss = loss * wrong.clamp_min(torch.finfo(wrong.dtype).tiny).pow(gamma)
        if alpha is not None:
            loss = loss * (alpha * target + (1 - alpha) * (1 - target))
        return loss.mean()


def _prepared(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the type to compute in, shapes checked."""
    if logits.shape != target.shape:
        # Broadcasting (B, 1, H, W) against (B, H, W) would compare every image with every mask, silently.
        raise ContractError(
            f"logits have shape {tuple(logits.shape)} and the target {tuple(target.shape)}, expected the same"
        )
    if logits.ndim < 2 or logits.numel() == 0:
        raise ContractError(f"logits have shape {tuple(logits.shape)}, expected (B, ...) with at least one pixel")
    dtype = accumulation_dtype(logits.dtype)
    return logits.to(dtype), target.to(dtype)
