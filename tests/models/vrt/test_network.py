"""What VRT takes and refuses, what training keeps, and what inference caches."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snellen.errors import ContractError, WeightsError
from snellen.models.vrt import PUBLISHED, VRT, Checkpointing, VrtArchitecture, load_official, published
from snellen.models.vrt import attention as attention_module
from snellen.models.vrt.attention import WindowAttention
from snellen.models.vrt.temporal import survival
from snellen.trace.measured import peak_above_start
from tiny_vrt import TINY, tiny_vrt

AGAIN = Checkpointing(attention=True, feed_forward=True, flow=True)


def clip(*, seed: int = 0, frames: int = 3, side: int = 32, channels: int = 3) -> Tensor:
    return torch.rand(1, frames, channels, side, side, generator=torch.Generator().manual_seed(seed))


def test_nine_architectures_are_published() -> None:
    assert [name[:3] for name in PUBLISHED] == [f"00{number}" for number in range(1, 10)]
    assert published("008").nonblind_denoising
    with pytest.raises(ContractError, match=r"no VRT is named '010'\nhint: one of 001_VRT"):
        published("010")


@pytest.mark.parametrize(("number", "taken"), [("002", 27), ("003", 27), ("008", 28)])
def test_architectures_without_reference_keys_are_built(number: str, taken: int) -> None:
    with torch.device("meta"):
        network = VRT(published(number))
    assert network.conv_first.weight.shape[1] == taken


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"upscale": 3}, "upscale is 3, expected 1, 2, 4 or 8"),
        ({"pa_frames": 3}, "pa_frames is 3, expected 0, 2, 4 or 6"),
        ({"num_heads": (3,) * 9}, "8 channels do not divide into 3 heads"),
        ({"depths": (1, 1)}, "depths has 2 entries, expected 8 or more"),
        ({"deformable_groups": 3}, "1 times which do not divide into 3 deformable_groups"),
    ],
)
def test_architectures_that_cannot_be_built_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        replace(TINY, **changes)


@torch.no_grad()
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((1, 3, 3, 32, 36), "given 32 x 36\nhint: pad to 32 x 40"),
        ((1, 3, 3, 24, 32), "given 24 x 32\nhint: pad to 32 x 32"),
        ((1, 1, 3, 32, 32), "at least 2 frames, given 1"),
        ((3, 3, 32, 32), r"takes clips \(B, D, 3, H, W\), given \(3, 3, 32, 32\)\nhint: add the batch axis"),
        ((1, 3, 4, 32, 32), r"takes clips \(B, D, 3, H, W\)"),
    ],
)
def test_clips_of_another_shape_are_refused(given: tuple[int, ...], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        tiny_vrt().eval()(torch.zeros(given))


@torch.no_grad()
@pytest.mark.parametrize(
    ("changes", "channels", "frames", "expected"),
    [
        ({"upscale": 2}, 3, 2, (1, 2, 3, 64, 64)),
        ({"pa_frames": 6, "deformable_groups": 3, "embed_dims": (12,) * 9}, 3, 3, (1, 3, 3, 32, 32)),
        ({"pa_frames": 6, "deformable_groups": 3, "embed_dims": (12,) * 9}, 3, 2, (1, 2, 3, 32, 32)),
        ({"nonblind_denoising": True}, 4, 2, (1, 2, 3, 32, 32)),
        ({"pa_frames": 0, "frames": 4}, 3, 4, (1, 1, 3, 32, 32)),
    ],
)
def test_shapes_of_what_is_made(changes: dict[str, Any], channels: int, frames: int, expected: Any) -> None:
    network = tiny_vrt(changes=changes).eval()
    assert tuple(network(clip(frames=frames, channels=channels)).shape) == expected


def test_flows_are_reckoned_in_full_precision_under_autocast() -> None:
    network, given = tiny_vrt().eval(), clip()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        under, output = network.flows(given), network(given)
    with torch.no_grad():
        apart = network.flows(given)
    assert all(torch.equal(one, other) for one, other in zip(under.backward, apart.backward, strict=True))
    assert output.isfinite().all()


def step(network: VRT, given: Tensor) -> None:
    # No function of their own: what a rate of 0.2 leaves out is drawn anew in every step.
    torch.manual_seed(5)
    network(given).square().mean().backward()


@pytest.mark.parametrize("flows_trained", [False, True])
def test_checkpointing_halves_the_peak_and_leaves_the_gradients_alone(flows_trained: bool) -> None:
    peaks, gradients = [], []
    for checkpointing in (Checkpointing(), AGAIN):
        network = tiny_vrt(changes={"window_size": (4, 4, 4)}, checkpointing=checkpointing).train()
        network.spynet.requires_grad_(requires_grad=flows_trained)
        trained = {name: one for name, one in network.named_parameters() if one.requires_grad}
        for parameter in trained.values():
            parameter.grad = torch.zeros_like(parameter)
        peaks.append(peak_above_start(partial(step, network, clip(frames=4, side=48))))
        gradients.append({name: one.grad for name, one in trained.items()})
    assert peaks[1] <= 0.5 * peaks[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=0, msg=name)


def test_stochastic_depth_keeps_the_mean_and_rises_with_depth() -> None:
    torch.manual_seed(0)
    drawn = survival(0.5, blocks=3, batch=20_000, device=torch.device("cpu"))
    assert drawn.mean(dim=(1, 2)).tolist() == pytest.approx([1.0, 1.0, 1.0], abs=0.02)
    assert (drawn == 0).float().mean(dim=(1, 2)).tolist() == pytest.approx([0.0, 0.25, 0.5], abs=0.01)


@torch.no_grad()
def test_branches_are_left_out_for_each_video_by_itself_and_in_training_only() -> None:
    network = tiny_vrt(drop_path=0.9).train()
    twice = clip().repeat(2, 1, 1, 1, 1)
    torch.manual_seed(0)
    first, second = network(twice)
    assert not torch.equal(first, second)
    network.eval()
    torch.testing.assert_close(*network(twice))


def test_the_biases_of_positions_are_looked_up_once_at_inference_and_never_stale() -> None:
    attention = WindowAttention(8, (2, 4, 4), 2, mutual=False)
    with torch.no_grad():
        attention.eval()
        kept = attention.position_scores(32)
        assert attention.position_scores(32) is kept
        attention.relative_position_bias_table.add_(1.0)
        torch.testing.assert_close(attention.position_scores(32), kept + 1.0)
        attention.load_state_dict(WindowAttention(8, (2, 4, 4), 2, mutual=False).state_dict())
        assert not torch.equal(attention.position_scores(32), kept + 1.0)
        attention.train()
        attention.relative_position_bias_table.data.mul_(2.0)
        attention.eval()
        expected = attention.relative_position_bias_table[attention.relative_position_index].permute(2, 0, 1)
        assert torch.equal(attention.position_scores(32), expected)
    assert attention.position_scores(32).requires_grad


@torch.no_grad()
def test_attention_in_several_calls_is_that_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network, given = tiny_vrt().eval(), clip()
    whole = network(given)
    monkeypatch.setattr(attention_module, "_MOST_SCORES", 5000)
    torch.testing.assert_close(network(given), whole, atol=1e-6, rtol=1e-5)


def test_no_video_is_asked_for_the_memory_format_of_images() -> None:
    network, given = tiny_vrt().eval(), clip()
    plain = network(given)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(given), plain, atol=1e-5, rtol=1e-5)


def test_weights_load_with_spynet_apart_or_inside_and_never_in_part() -> None:
    source, target = tiny_vrt(seed=1), tiny_vrt(seed=2)
    state = source.state_dict()
    apart = {name: one for name, one in state.items() if not name.startswith("spynet.")}
    alone = {name.removeprefix("spynet."): one for name, one in state.items() if name.startswith("spynet.")}
    without_tables = {name: one for name, one in apart.items() if not name.endswith("relative_position_index")}
    for given, spynet in (({"params": state}, None), (apart, alone), (without_tables, {"params": alone})):
        target = tiny_vrt(seed=2)
        assert load_official(target, given, source="a file", spynet=spynet).complete
        assert all(torch.equal(one, state[name]) for name, one in target.state_dict().items())
    with pytest.raises(WeightsError, match="62 missing"):
        load_official(target, apart, source="a file without flow")
    with pytest.raises(WeightsError, match="does not fit"):
        load_official(VRT(VrtArchitecture()), state, source="a smaller VRT", spynet=None)
