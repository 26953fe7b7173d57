"""Parameters that are to be trained and that the loss does not reach, found on tensors without numbers."""

from __future__ import annotations

from contextlib import AbstractContextManager

from snellen.errors import SnellenError
from snellen.estimate.step import StepFailed, Workload
from snellen.trace.fake import build_without_weights, fake_tensors, give_weights
from snellen.trace.shapes import shapes_only

__all__ = ["unused_parameters"]


def unused_parameters(workload: Workload) -> tuple[str, ...]:
    """Names of the parameters that require a gradient and get none from the loss of a batch.

    Args:
        workload: What a step does; two samples of it are gone through.

    Raises:
        StepFailed: It cannot be gone through without numbers.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> class Net(nn.Module):
        ...     def __init__(self) -> None:
        ...         super().__init__()
        ...         self.used, self.spare = nn.Linear(2, 1), nn.Linear(2, 1)
        ...     def forward(self, x):
        ...         return self.used(x)
        >>> unused_parameters(Workload(build=Net, batch=lambda count: torch.rand(count, 2)))
        ('spare.weight', 'spare.bias')
    """
    try:
        try:
            return _without_gradient(workload, shapes_only(), "meta")
        except Exception:  # noqa: BLE001 - what the quicker way cannot do, such as to compute parts again
            return _without_gradient(workload, fake_tensors(), "cpu")
    except SnellenError:
        raise
    except Exception as error:
        raise StepFailed.because(error, "the step cannot be gone through without numbers") from error


def _without_gradient(workload: Workload, tensors: AbstractContextManager[object], device: str) -> tuple[str, ...]:
    model = build_without_weights(workload.build)
    with tensors:
        give_weights(model, device=device)
        model.train()
        workload.loss(model, workload.batch(2)).backward()  # type: ignore[no-untyped-call]
    return tuple(name for name, one in model.named_parameters() if one.requires_grad and one.grad is None)
