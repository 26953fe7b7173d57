"""The loss of one head on the samples that have a label for it."""

from __future__ import annotations

import torch
from torch import Tensor

from snellen.data.class_map import ClassMap
from snellen.errors import DataError
from snellen.ops.class_losses import focal_cross_entropy
from snellen.tasks.probe.config import HeadConfig

__all__ = ["class_weights_of", "head_loss"]


def class_weights_of(head: HeadConfig, classes: ClassMap, *, name: str) -> tuple[float, ...] | None:
    """A weight for each class that is learned, mean 1 over the samples; `None` when all count the same.

    Args:
        head: Its settings.
        classes: With the number of samples of each class.
        name: Of the head, for messages.

    Raises:
        DataError: A class has no weight, or a weight no class.

    Example:
        >>> class_weights_of(HeadConfig(class_weights="balanced"), ClassMap(("a", "b"), (3, 1)), name="x")
        (0.6666666666666666, 2.0)
    """
    wanted = head.class_weights
    if wanted is None:
        return None
    if wanted == "balanced":
        total = sum(classes.counts)
        return tuple(total / (len(classes) * count) for count in classes.counts)
    strange = sorted(set(wanted) - {*classes.names, *classes.absent})
    missing = [one for one in classes.names if one not in wanted]
    if strange or missing:
        problems = [f"there is no class {', '.join(strange)}"] if strange else []
        problems += [f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} no weight"] if missing else []
        raise DataError(
            f"heads.{name}.class_weights: {' and '.join(problems)}; the classes are {', '.join(classes.names)}",
            hint="give each class a weight, or write class_weights: balanced",
            slug="class-weights-length",
        )
    return tuple(wanted[one] for one in classes.names)


def head_loss(logits: Tensor, target: Tensor, head: HeadConfig, weights: tuple[float, ...] | None) -> Tensor:
    """The loss of one head, times its weight.

    Args:
        logits: Shape `(B, classes)`.
        target: Shape `(B,)`; -1 for samples without a label.
        head: Its settings.
        weights: One for each class.
    """
    loss = focal_cross_entropy(
        logits,
        target,
        class_weights=None if weights is None else torch.tensor(weights, device=logits.device),
        gamma=head.gamma if head.loss == "focal" else 0.0,
        label_smoothing=head.label_smoothing,
    )
    return loss * head.weight
