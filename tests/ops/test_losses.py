"""Losses against torchvision, formulas in numpy float64 and their limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from snellen.errors import ContractError
from snellen.ops.losses import dice_loss, focal_bce_loss, tversky_loss

Loss = Callable[..., Tensor]
LOSSES: list[Loss] = [tversky_loss, dice_loss, focal_bce_loss]


def batch(dtype: torch.dtype = torch.float64, size: int = 12) -> tuple[Tensor, Tensor]:
    """Logits, and masks of which the last is empty."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 1, size, size, generator=generator, dtype=torch.float64) * 3
    target = torch.rand(logits.shape, generator=generator, dtype=torch.float64) < 0.05
    target[3] = False
    return logits.to(dtype), target.to(dtype)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25, 0.9])
def test_focal_loss_equals_torchvision(alpha: float | None, gamma: float) -> None:
    logits, target = batch()
    expected = sigmoid_focal_loss(logits, target, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction="mean")
    torch.testing.assert_close(focal_bce_loss(logits, target, alpha=alpha, gamma=gamma), expected)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    logits, target = batch()
    expected = F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(focal_bce_loss(logits, target, alpha=None, gamma=0.0), expected)


@pytest.mark.parametrize(
    ("alpha", "beta", "smooth", "gamma"), [(0.5, 0.5, 1.0, 1.0), (0.3, 0.7, 1e-3, 1.0), (0.2, 1.5, 2.0, 2.0)]
)
def test_tversky_loss_equals_its_formula(alpha: float, beta: float, smooth: float, gamma: float) -> None:
    logits, target = batch()
    truth = target.numpy().reshape(4, -1)
    predicted = 1 / (1 + np.exp(-logits.numpy().reshape(4, -1)))
    hit = (predicted * truth).sum(1)
    weighted = alpha * (predicted * (1 - truth)).sum(1) + beta * ((1 - predicted) * truth).sum(1)
    expected = ((1 - (hit + smooth) / (hit + weighted + smooth)) ** gamma).mean()
    found = tversky_loss(logits, target, alpha=alpha, beta=beta, smooth=smooth, gamma=gamma)
    np.testing.assert_allclose(found.item(), expected)


def test_dice_loss_equals_its_formula() -> None:
    logits, target = batch()
    predicted = logits.sigmoid()
    shared = (predicted * target).flatten(1).sum(1)
    both = (predicted + target).flatten(1).sum(1)
    expected = (1 - (2 * shared + 2) / (both + 2)).mean()
    torch.testing.assert_close(dice_loss(logits, target, smooth=1.0), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss: Loss) -> None:
    logits, target = batch(size=4)
    soft = target * 0.8 + 0.1
    for given in (target, soft):
        assert torch.autograd.gradcheck(
            lambda values, given=given: loss(values, given), logits.clone().requires_grad_()
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_and_the_company_of_images_do_not_matter(loss: Loss) -> None:
    logits, target = batch()
    whole = loss(logits, target)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(loss(logits[order], target[order]), whole, rtol=1e-14, atol=0)
    alone = [loss(logits[[index]], target[[index]]) for index in range(4)]
    torch.testing.assert_close(torch.stack(alone).mean(), whole, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("loss", LOSSES)
def test_half_logits_are_computed_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    # 512 x 512 pixels: their sum does not exist in float16.
    logits, target = (values.to(dtype) for values in batch(size=512))
    found = loss(logits, target)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found.double(), loss(logits.double(), target.double()), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_autocast_changes_nothing(loss: Loss) -> None:
    logits, target = batch(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(logits, target)
    assert torch.equal(mixed, loss(logits, target))


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.int64, torch.float16])
@pytest.mark.parametrize("loss", LOSSES)
def test_masks_of_any_type(loss: Loss, kind: torch.dtype) -> None:
    logits, target = batch()
    assert torch.equal(loss(logits, target.to(kind)), loss(logits, target))


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("loss", LOSSES)
def test_masks_that_are_empty_or_full(loss: Loss, value: float) -> None:
    target = torch.full((2, 1, 8, 8), value)
    right, wrong = ((2 * target - 1) * sign * 30 for sign in (1, -1))
    assert loss(right, target).item() == pytest.approx(0, abs=1e-6)
    assert loss(wrong, target).item() > 0.9
    undecided = torch.zeros_like(target, requires_grad=True)
    loss(undecided, target).backward()
    assert undecided.grad is not None
    # Downhill leads towards the mask everywhere.
    assert bool((undecided.grad.sign() == (1 - 2 * target)).all())


@pytest.mark.parametrize("scale", [1e2, 1e4, 3e38])
@pytest.mark.parametrize("loss", [*LOSSES, lambda logits, target: focal_bce_loss(logits, target, gamma=0.5)])
def test_extreme_logits_stay_finite(loss: Loss, scale: float) -> None:
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    logits = torch.tensor([[1.0, -1.0, 1.0, -1.0]]).mul(scale).requires_grad_()
    found = loss(logits, target)
    found.backward()
    assert logits.grad is not None
    assert bool(found.detach().isfinite())
    assert bool(logits.grad.isfinite().all())


def test_beta_above_alpha_makes_a_miss_cost_more_than_a_false_alarm() -> None:
    target = torch.zeros(1, 64)
    target[0, :4] = 1
    certain = (2 * target - 1) * 30
    missed, alarmed = certain.clone(), certain.clone()
    missed[0, 0], alarmed[0, 10] = -30, 30
    assert tversky_loss(missed, target) > tversky_loss(alarmed, target)


@pytest.mark.parametrize("loss", LOSSES)
def test_wrong_shapes_are_named(loss: Loss) -> None:
    with pytest.raises(ContractError, match=r"logits have shape \(2, 1, 4, 4\) and the target \(2, 4, 4\)"):
        loss(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))
    with pytest.raises(
        ContractError, match=r"logits have shape \(0, 1, 4, 4\), expected \(B, \.\.\.\) with at least one"
    ):
        loss(torch.zeros(0, 1, 4, 4), torch.zeros(0, 1, 4, 4))
    with pytest.raises(ContractError, match=r"values are torch\.int64, expected a floating type"):
        loss(torch.zeros(1, 4).long(), torch.zeros(1, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda zeros: tversky_loss(zeros, zeros, alpha=-0.1), "alpha is -0.1 and beta is 0.7"),
        (lambda zeros: tversky_loss(zeros, zeros, alpha=0.0, beta=0.0), "expected neither below 0 and one above"),
        (lambda zeros: tversky_loss(zeros, zeros, smooth=0.0), "smooth is 0.0 and gamma is 1.0, expected above 0"),
        (lambda zeros: tversky_loss(zeros, zeros, gamma=0.75), "gamma is 0.75, .* at least 1"),
        (lambda zeros: focal_bce_loss(zeros, zeros, alpha=1.5), "alpha is 1.5 and gamma is 2.0"),
        (lambda zeros: focal_bce_loss(zeros, zeros, gamma=-1.0), "gamma is -1.0, .* at least 0"),
    ],
)
def test_wrong_settings_are_named(call: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        call(torch.zeros(1, 4))
