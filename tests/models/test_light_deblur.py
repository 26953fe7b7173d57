"""The light deblurring network: where it starts, what a frame depends on, and that borders are nothing special."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from snellen.errors import ContractError
from snellen.models.light_deblur import LightDeblur
from snellen.models.vrt.spikes import SpikeContract


def stirred(network: LightDeblur) -> LightDeblur:
    """As after some training: the last layer, which starts at zero, gives something."""
    torch.manual_seed(0)
    nn.init.normal_(network.last.weight)
    return network.eval()


def test_untrained_it_returns_the_clip_with_spikes_and_without() -> None:
    clip = torch.rand(2, 3, 3, 16, 24)
    assert torch.equal(LightDeblur(width=8, blocks=1)(clip), clip)
    network = LightDeblur(width=8, blocks=1, spikes=SpikeContract(bins=4))
    assert torch.equal(network(clip, torch.rand(2, 3, 4, 16, 24)), clip)


@pytest.mark.parametrize("reach", [0, 1, 2])
def test_a_frame_depends_on_its_neighbours_as_far_as_they_reach(reach: int) -> None:
    network = stirred(LightDeblur(width=8, blocks=1, reach=reach))
    clip = torch.rand(1, 7, 3, 16, 16)
    other = clip.clone()
    other[:, 3] = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        changed = (network(clip) - network(other)).abs().amax(dim=(0, 2, 3, 4)) > 0
    assert changed.tolist() == [abs(place - 3) <= reach for place in range(7)]


def test_a_clip_without_motion_or_texture_differs_nowhere() -> None:
    seen = LightDeblur(width=8, blocks=1)._differences(torch.full((1, 4, 3, 16, 16), 0.25))
    assert seen.shape == (1, 4, 18, 16, 16)
    assert torch.equal(seen[:, :, :3], torch.full((1, 4, 3, 16, 16), -0.25))
    assert seen[:, :, 3:].abs().max() < 1e-6


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ContractError, match="multiples of 8"):
        LightDeblur(width=8)(torch.zeros(1, 3, 3, 20, 24))
    with pytest.raises(ContractError, match="without a spike branch"):
        LightDeblur(width=8)(torch.zeros(1, 3, 3, 16, 24), torch.zeros(1, 3, 4, 16, 24))
