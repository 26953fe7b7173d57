"""The focal loss over classes against torch's cross-entropy and its own formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from snellen.errors import ContractError
from snellen.ops.class_losses import focal_cross_entropy


def sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(32, 5, generator=generator) * 4
    return logits, torch.randint(-1, 5, (32,), generator=generator), torch.rand(5, generator=generator) + 0.1


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_without_gamma_it_is_cross_entropy_over_labelled_samples(smoothing: float) -> None:
    logits, target, weights = sample()
    found = focal_cross_entropy(logits, target, class_weights=weights, label_smoothing=smoothing)
    expected = F.cross_entropy(logits, target, weight=weights, ignore_index=-1, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)


def test_it_is_the_formula() -> None:
    logits, target, weights = sample()
    labelled = target >= 0
    right = logits.double().softmax(dim=1)[labelled].gather(1, target[labelled][:, None]).squeeze(1)
    each = weights[target[labelled]].double()
    expected = (each * (1 - right) ** 2 * -right.log()).sum() / each.sum()
    found = focal_cross_entropy(logits, target, class_weights=weights, gamma=2)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradients_are_finite_however_sure_the_answer(gamma: float) -> None:
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0], [0.0, 0.0]], requires_grad=True)
    focal_cross_entropy(logits, torch.tensor([0, 0, 1]), gamma=gamma).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_without_a_label_it_is_nought_with_a_gradient() -> None:
    logits = torch.ones(3, 2, requires_grad=True)
    loss = focal_cross_entropy(logits, torch.full((3,), -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(
    ("target", "weights", "message"),
    [
        (torch.tensor([0, 5]), None, "targets from 0 to 5, expected -1 to 4"),
        (torch.tensor([0, -2]), None, "targets from -2 to 0"),
        (torch.tensor([0]), None, "do not fit together"),
        (torch.tensor([0, 1]), torch.ones(4), "4 class weights, expected 5"),
    ],
)
def test_what_does_not_fit_is_refused(target: torch.Tensor, weights: torch.Tensor | None, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        focal_cross_entropy(torch.zeros(2, 5), target, class_weights=weights)
