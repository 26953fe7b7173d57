"""Contracts: composition, refusals with both sides named, normalisation against torchvision."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from snellen.errors import ContractError
from snellen.models.contract import (
    Contract,
    check_features,
    check_image,
    common_side_multiple,
    normalise,
    padded_size,
)

BACKBONE = Contract(part="backbone", side_multiple=14, stride=14, out_channels=384)
DECODER = Contract(part="decoder", side_multiple=32)


def test_patch_14_and_stride_32_need_224() -> None:
    assert common_side_multiple([BACKBONE, DECODER]) == 224
    assert padded_size(440, 600, 224) == (448, 672)


@pytest.mark.parametrize("size", [(448, 672), (224, 224)])
def test_images_that_fit_pass(size: tuple[int, int]) -> None:
    check_image(torch.zeros(1, 3, *size), [BACKBONE, DECODER])


def test_a_size_that_fits_one_part_only_is_refused_with_the_size_that_would_do() -> None:
    with pytest.raises(ContractError, match=r"pad to 448 x 672") as caught:
        check_image(torch.zeros(1, 3, 448, 640), [BACKBONE, DECODER])
    assert "backbone needs multiples of 14" in str(caught.value)
    assert "decoder needs multiples of 32" in str(caught.value)
    assert caught.value.slug == "padding-not-lcm"


def test_a_channels_last_batch_is_refused_with_both_layouts() -> None:
    with pytest.raises(ContractError, match=r"looks like \(B, H, W, C\)") as caught:
        check_image(torch.zeros(1, 224, 224, 3), [BACKBONE])
    assert caught.value.slug == "layout-scrambled"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 224, 224), r"expected \(B, C, H, W\)"),
        (torch.zeros(1, 3, 224, 224, dtype=torch.uint8), "expected a floating dtype"),
        (torch.zeros(1, 1, 224, 224), r"takes \(B, 3, H, W\)"),
    ],
)
def test_other_broken_batches_are_refused(images: torch.Tensor, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        check_image(images, [BACKBONE])


@pytest.mark.parametrize(
    ("permutation", "layout"), [((0, 2, 3, 1), r"\(B, H, W, C\)"), ((0, 3, 1, 2), r"\(B, W, C, H\)")]
)
def test_a_permuted_feature_map_is_refused_by_the_layout_it_has(permutation: tuple[int, ...], layout: str) -> None:
    right = torch.zeros(2, 384, 16, 20)
    check_features(right, BACKBONE, (224, 280))
    with pytest.raises(ContractError, match=layout) as caught:
        check_features(right.permute(permutation), BACKBONE, (224, 280))
    assert caught.value.slug == "layout-scrambled"


def test_normalise_equals_torchvision() -> None:
    contract = Contract(part="backbone", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    images = torch.rand(2, 3, 8, 8)
    expected = v2.Normalize(mean=contract.mean, std=contract.std)(images)
    torch.testing.assert_close(normalise(images, contract), expected)
