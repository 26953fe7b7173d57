"""The optimiser of a run, and its learning rates."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from snellen.engine.settings import TrainSettings
from snellen.errors import ContractError, UsageError

__all__ = ["build_optimiser", "default_groups", "hold_frozen", "set_learning_rate"]


def default_groups(model: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices and kernels with weight decay, biases and norms without.

    Example:
        >>> [len(group["params"]) for group in default_groups(nn.Linear(2, 1), weight_decay=0.01)]
        [1, 1]
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if parameter.ndim > 1]
    plain = [parameter for parameter in trainable if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimiser(settings: TrainSettings, groups: list[dict[str, Any]]) -> Optimizer:
    """The optimiser over a recipe's parameter groups; every group remembers its peak as `peak_lr`.

    Raises:
        ContractError: There is nothing to train.
        UsageError: An optimiser whose package is missing.
    """
    groups = [{**group, "params": list(group["params"])} for group in groups]
    if not any(parameter.requires_grad for group in groups for parameter in group["params"]):
        raise ContractError("parameter_groups returned no trainable parameter, expected at least one")
    for group in groups:
        group["peak_lr"] = settings.lr * group.pop("lr_scale", 1.0)
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    if settings.optimiser == "adamw-8bit":
        return _eight_bit(settings, groups)
    if settings.optimiser == "adam":
        return torch.optim.Adam(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)


def set_learning_rate(optimiser: Optimizer, factor: float) -> float:
    """Set every group to its peak times the factor; returns the first group's learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * factor
    return float(optimiser.param_groups[0]["lr"])


def hold_frozen(optimiser: Optimizer, step: int, *, steps: int) -> None:
    """Drop the gradients of groups that do not learn yet: those whose `frozen_share` of all steps is not over.

    Without gradients an optimiser leaves a parameter, and what it remembers of it, as they are. Nothing is switched in
    the model, so that neither a compiled graph nor a wrapper for several devices notices.

    Args:
        optimiser: After the backward pass.
        step: Optimiser steps done before this one, from 0.
        steps: Optimiser steps of the whole run.

    Example:
        >>> flow = nn.Linear(1, 1)
        >>> optimiser = torch.optim.SGD([{"params": list(flow.parameters()), "frozen_share": 0.5}], lr=1.0)
        >>> flow(torch.ones(1)).backward()
        >>> hold_frozen(optimiser, 0, steps=2)
        >>> flow.weight.grad is None
        True
    """
    for group in optimiser.param_groups:
        if step < group.get("frozen_share", 0.0) * steps:
            for parameter in group["params"]:
                parameter.grad = None


def _eight_bit(settings: TrainSettings, groups: list[dict[str, Any]]) -> Optimizer:
    try:
        import bitsandbytes  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(
            "the optimiser adamw-8bit needs bitsandbytes, which is not installed",
            hint="pip install 'snellen[low-memory]'; or optim.optimiser: adamw",
            slug="missing-extra",
        ) from error
    made: Optimizer = bitsandbytes.optim.AdamW8bit(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    return made
