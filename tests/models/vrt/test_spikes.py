"""The spike branch: what it adds, and which voxels it refuses."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from snellen.errors import ContractError
from snellen.models.vrt import SpikeBranch, SpikeContract, load_official
from tiny_vrt import tiny_vrt

CLIP = torch.rand(1, 3, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def voxels(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def branch(**options: Any) -> SpikeBranch:
    torch.manual_seed(3)
    made = SpikeBranch(8, contract=SpikeContract(bins=4), heads=2, **options)
    torch.nn.init.normal_(made.out.weight)
    return made


@torch.no_grad()
@pytest.mark.parametrize("fusion", ["attention", "addition"])
def test_without_spikes_it_is_plain_vrt_bit_for_bit(fusion: str) -> None:
    plain, guided = tiny_vrt().eval(), tiny_vrt(spikes=branch(fusion=fusion)).eval()
    assert load_official(guided, plain.state_dict(), source="a plain VRT").complete
    assert torch.equal(guided(CLIP), plain(CLIP))
    assert not torch.equal(guided(CLIP, voxels(1, 3, 4, 16, 24)), plain(CLIP))


@torch.no_grad()
def test_a_new_branch_adds_nothing_until_it_has_learned() -> None:
    new = SpikeBranch(8, contract=SpikeContract(bins=4), heads=2)
    assert torch.equal(tiny_vrt(spikes=new).eval()(CLIP, voxels(1, 3, 4, 32, 48)), tiny_vrt().eval()(CLIP))


@torch.no_grad()
@pytest.mark.parametrize("size", [(16, 24), (32, 48), (64, 96), (2, 3)])
def test_the_sensor_may_have_another_resolution(size: tuple[int, int]) -> None:
    features = torch.zeros(2, 3, 32, 48, 8)
    assert branch()(features, voxels(2, 3, 4, *size)).shape == features.shape


@torch.no_grad()
def test_attention_in_chunks_is_that_in_one() -> None:
    features, spikes = torch.rand(2, 3, 8, 12, 8), voxels(2, 3, 4, 4, 6)
    whole = branch()(features, spikes)
    for most_tokens in (1, 100, 500):
        torch.testing.assert_close(branch(most_tokens=most_tokens)(features, spikes), whole)


def test_chunks_that_are_computed_again_have_the_same_gradients() -> None:
    features, spikes = torch.rand(1, 3, 8, 12, 8), voxels(1, 3, 4, 4, 6)
    gradients = []
    for checkpointing in (False, True):
        made = branch(most_tokens=100, checkpointing=checkpointing).train()
        made(features, spikes).square().sum().backward()
        gradients.append([parameter.grad for parameter in made.parameters()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


@torch.no_grad()
def test_attention_sees_the_other_frames_and_addition_does_not() -> None:
    features, spikes = torch.rand(1, 3, 8, 8, 8), voxels(1, 3, 4, 8, 8)
    changed = spikes.clone()
    changed[:, 2] += 1.0
    for fusion, sees in (("attention", True), ("addition", False)):
        made = branch(fusion=fusion)
        assert torch.equal(made(features, spikes)[:, 0], made(features, changed)[:, 0]) is not sees


@pytest.mark.parametrize(
    ("scale", "shape", "said"),
    [
        (
            None,
            (1, 3, 5, 16, 24),
            r"voxels of shape \(1, 3, 5, 16, 24\), expected \(1, 3, 4, h, w\) for frames of shape",
        ),
        (None, (1, 2, 4, 16, 24), r"voxels of shape \(1, 2, 4, 16, 24\), expected \(1, 3, 4, h, w\)"),
        (None, (1, 3, 4, 16, 16), "frames of 32 x 48 and voxels of 16 x 16 .* 2 pixels .* down, 3 across"),
        (Fraction(4), (1, 3, 4, 16, 24), "frames of 32 x 48 and voxels of 16 x 24 .* the voxels are 8 x 12"),
        (Fraction(5), (1, 3, 4, 16, 24), "at 5 pixels .* 32 x 48 .* ends within a pixel"),
    ],
)
def test_voxels_that_do_not_belong_to_the_frames_are_refused(
    scale: Fraction | None, shape: tuple[int, ...], said: str
) -> None:
    contract = SpikeContract(bins=4, scale=scale)
    network = tiny_vrt(spikes=SpikeBranch(8, contract=contract, heads=2)).eval()
    with pytest.raises(ContractError, match=said):
        network(CLIP, voxels(*shape))


def test_voxels_are_refused_by_a_network_without_a_branch() -> None:
    with pytest.raises(ContractError, match="without a spike branch"):
        tiny_vrt().eval()(CLIP, voxels(1, 3, 4, 16, 24))
