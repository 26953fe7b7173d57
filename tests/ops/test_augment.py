"""The eight transforms are the symmetries of the square, and undo themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from snellen.errors import ContractError
from snellen.ops.augment import DIHEDRAL_TRANSFORMS, FLIPS, DihedralTransform, average_over


def test_eight_different_views_each_undone() -> None:
    image = torch.arange(2 * 3 * 5).view(2, 3, 5)
    views = [transform.forward(image) for transform in DIHEDRAL_TRANSFORMS]
    assert len({(tuple(view.shape), tuple(view.flatten().tolist())) for view in views}) == 8
    for transform, view in zip(DIHEDRAL_TRANSFORMS, views, strict=True):
        assert view.shape == ((2, 5, 3) if transform.swaps_sides else (2, 3, 5))
        assert torch.equal(transform.inverse(view), image)
        assert torch.equal(transform.forward(transform.inverse(image)), image)
    assert torch.equal(views[0], image)


@pytest.mark.parametrize("transform", DIHEDRAL_TRANSFORMS)
def test_pixels_move_as_in_numpy(transform: DihedralTransform) -> None:
    image = np.arange(12).reshape(3, 4)
    mirrored = np.fliplr(image) if transform.mirrored else image
    expected = np.rot90(mirrored, transform.quarter_turns)
    np.testing.assert_array_equal(transform.forward(torch.from_numpy(image)).numpy(), expected)


def test_two_transforms_in_a_row_are_one_of_the_eight() -> None:
    image = torch.arange(9).view(3, 3)
    views = [transform.forward(image) for transform in DIHEDRAL_TRANSFORMS]
    for outer in DIHEDRAL_TRANSFORMS:
        assert all(any(torch.equal(outer.forward(view), other) for other in views) for view in views)


def test_flips_keep_the_sides() -> None:
    assert len(FLIPS) == 4
    assert all(one.forward(torch.zeros(3, 4)).shape == (3, 4) for one in FLIPS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_averaging_a_pointwise_function_changes_nothing(dtype: torch.dtype) -> None:
    image = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = average_over(torch.sigmoid, image)
    assert found.dtype is dtype
    torch.testing.assert_close(found, image.sigmoid())


def test_the_average_is_that_of_the_views_turned_back_and_equivariant() -> None:
    image = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def predict(given: Tensor) -> Tensor:
        return given.cumsum(-1) * given.roll(1, -2)

    found = average_over(predict, image)
    by_hand = torch.stack([one.inverse(predict(one.forward(image))) for one in DIHEDRAL_TRANSFORMS]).mean(0)
    torch.testing.assert_close(found, by_hand)
    for transform in DIHEDRAL_TRANSFORMS:
        torch.testing.assert_close(average_over(predict, transform.forward(image)), transform.forward(found))
    assert torch.equal(average_over(predict, image, transforms=DIHEDRAL_TRANSFORMS[:1]), predict(image))


def test_predictions_of_another_size_and_channels() -> None:
    found = average_over(lambda given: given.sum(0, keepdim=True)[..., ::2, ::2], torch.ones(3, 4, 8))
    assert torch.equal(found, torch.full((1, 2, 4), 3.0))


def test_what_cannot_be_averaged() -> None:
    image = torch.zeros(1, 4, 6)
    with pytest.raises(ContractError, match="there are no transforms"):
        average_over(torch.sqrt, image, transforms=())
    with pytest.raises(ContractError, match=r"values are torch\.int64"):
        average_over(lambda given: given.long(), image)
    with pytest.raises(ContractError, match=r"has shape \(1, 2, 6\) once turned back, expected \(1, 4, 2\)"):
        average_over(lambda given: given[..., :2], image)
