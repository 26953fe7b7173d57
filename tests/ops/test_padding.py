"""Padding: round trips, and numpy as the reference for where new pixels come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snellen.errors import ContractError
from snellen.ops.padding import Padding, PaddingMode, common_multiple, pad_to_multiple, unpad

MODES: list[PaddingMode] = ["reflect", "replicate", "constant"]
NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "constant": "constant"}


def test_common_multiple_satisfies_every_part() -> None:
    assert common_multiple(14, 32) == 224
    assert common_multiple(16, 32, 8) == 32
    assert common_multiple(7) == 7
    assert common_multiple() == 1
    with pytest.raises(ContractError, match="a multiple is 0, expected at least 1"):
        common_multiple(14, 0)


@pytest.mark.parametrize("mode", MODES)
def test_round_trip_of_random_sizes(mode: PaddingMode) -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        height, width = (int(side) for side in random.integers(1, 40, 2))
        multiple = int(random.integers(1, 50))
        image = torch.from_numpy(random.random((2, height, width)))
        padded, padding = pad_to_multiple(image, multiple, mode=mode)
        assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
        assert 0 <= padded.shape[-2] - height < multiple
        assert 0 <= padded.shape[-1] - width < multiple
        assert torch.equal(unpad(padded, padding), image)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.float64])
def test_new_pixels_are_those_of_numpy(mode: PaddingMode, dtype: torch.dtype) -> None:
    image = (torch.arange(2 * 5 * 7).view(2, 5, 7) % 3).to(dtype)
    padded, padding = pad_to_multiple(image, 8, mode=mode)
    assert padding == Padding(height=5, width=7, bottom=3, right=1)
    expected = np.pad(image.double().numpy(), ((0, 0), (0, 3), (0, 1)), mode=NUMPY_MODES[mode])
    assert padded.dtype is dtype
    np.testing.assert_array_equal(padded.double().numpy(), expected)


def test_an_axis_too_short_to_mirror_repeats_its_border() -> None:
    image = torch.arange(3 * 20).view(3, 20)
    padded, _ = pad_to_multiple(image, 14)
    assert torch.equal(padded[3:, :20], image[2].expand(11, 20))
    np.testing.assert_array_equal(padded[:3].numpy(), np.pad(image.numpy(), ((0, 0), (0, 8)), mode="reflect"))
    single, _ = pad_to_multiple(torch.full((1, 1, 1), 5), 224)
    assert single.shape == (1, 224, 224)
    assert single.unique().tolist() == [5]


def test_the_size_of_mirror_that_just_fits() -> None:
    padded, _ = pad_to_multiple(torch.arange(4).view(1, 4), 7)
    assert padded[0].tolist() == [0, 1, 2, 3, 2, 1, 0]


def test_a_constant_of_choice_and_nothing_to_do() -> None:
    padded, _ = pad_to_multiple(torch.zeros(1, 3, 3), 4, mode="constant", value=0.5)
    assert float(padded.sum()) == 3.5
    image = torch.zeros(2, 2, 3, 4, 28, 14)
    same, padding = pad_to_multiple(image, 14)
    assert same is image
    assert unpad(image, padding).shape == image.shape


@pytest.mark.parametrize("mode", MODES)
def test_gradients_flow_through(mode: PaddingMode) -> None:
    image = torch.rand(1, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: pad_to_multiple(given, 4, mode=mode)[0], image)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ContractError, match=r"shape \(3, 0, 5\), expected \(\.\.\., H, W\)"):
        pad_to_multiple(torch.zeros(3, 0, 5), 14)
    with pytest.raises(ContractError, match=r"shape \(5,\)"):
        pad_to_multiple(torch.zeros(5), 14)
    with pytest.raises(ContractError, match="a multiple is -1"):
        pad_to_multiple(torch.zeros(5, 5), -1)
    with pytest.raises(ContractError, match="mode is 'mirror', expected 'reflect'"):
        pad_to_multiple(torch.zeros(5, 5), 14, mode="mirror")  # type: ignore[arg-type]
    _, padding = pad_to_multiple(torch.zeros(5, 5), 14)
    with pytest.raises(ContractError, match=r"shape \(7, 7\), expected the padded size \(14, 14\)"):
        unpad(torch.zeros(7, 7), padding)
