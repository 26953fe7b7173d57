"""Cross entropy over classes, of labels or of mixtures of labels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

__all__ = ["balanced_weights", "classify_loss"]


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """A weight for each class, inverse to its number of images and 1 in the mean over images.

    Example:
        >>> balanced_weights([30, 10])
        [0.6666666666666666, 2.0]
    """
    return [sum(counts) / (len(counts) * count) for count in counts]


def classify_loss(
    logits: Tensor, target: Tensor, *, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Mean cross entropy.

    Args:
        logits: Shape `(B, K)`.
        target: Classes of shape `(B,)`, or shares of classes of shape `(B, K)`.
        label_smoothing: Share of the target that is spread over all classes.
        weights: Of the classes, shape `(K,)`.

    Example:
        >>> import torch
        >>> round(float(classify_loss(torch.zeros(1, 4), torch.tensor([1]))), 4)
        1.3863
    """
    return functional.cross_entropy(logits.float(), target, weight=weights, label_smoothing=label_smoothing)
