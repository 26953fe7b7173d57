"""Losses over classes, for samples that may have no label."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.precision import full_precision

__all__ = ["focal_cross_entropy"]

_SURE = 1e-7
"""Probability of a mistake under which an answer is as good as certain."""


def focal_cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    class_weights: Tensor | None = None,
    gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy in which samples count less the surer the right answer is; a weighted mean over labelled samples.

    With `gamma` 0 it is `torch.nn.functional.cross_entropy`.

    Args:
        logits: Shape `(B, classes)`.
        target: Class of each sample, shape `(B,)`; -1 for a sample without label, which counts nothing.
        class_weights: One for each class.
        gamma: Exponent on the probability of a mistake, at least 0.
        label_smoothing: Share of the target that is spread over all classes.

    Returns:
        Scalar; 0, with a gradient of 0, when no sample has a label.

    Raises:
        ContractError: Shapes differ, or a target is no class: it is never taken for another.

    Source: Lin et al., Focal Loss for Dense Object Detection, 2017.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, -1])
        >>> [round(focal_cross_entropy(logits, target, gamma=gamma).item(), 4) for gamma in (0, 2)]
        [0.1269, 0.0018]
    """
    classes = logits.shape[1]
    if target.shape != logits.shape[:1]:
        raise ContractError(f"logits {tuple(logits.shape)} and targets {tuple(target.shape)} do not fit together")
    if class_weights is not None and class_weights.shape != (classes,):
        raise ContractError(
            f"{class_weights.numel()} class weights, expected {classes}: one for each output",
            slug="class-weights-length",
        )
    if target.numel() and (int(target.min()) < -1 or int(target.max()) >= classes):
        raise ContractError(
            f"targets from {int(target.min())} to {int(target.max())}, expected -1 to {classes - 1}",
            slug="label-out-of-range",
        )
    with full_precision(logits.device):
        logits, labelled = logits.float(), target >= 0
        if not bool(labelled.any()):
            return logits.sum() * 0.0
        logits, target = logits[labelled], target[labelled]
        if gamma == 0:
            return F.cross_entropy(logits, target, weight=class_weights, label_smoothing=label_smoothing)
        each = F.cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)
        # log(1 - p) of the right class would lose digits near 1; the sum of the others does not.
        right = logits.log_softmax(dim=1).gather(1, target[:, None]).squeeze(1)
        # Below 1, the gradient of a power is infinite at 0: where the answer is that sure, there is none.
        factor = (-right.expm1()).clamp_min(_SURE) ** gamma
        weights = class_weights[target] if class_weights is not None else logits.new_ones(len(target))
        return (weights * factor * each).sum() / weights.sum()
