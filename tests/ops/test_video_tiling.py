"""Videos in clips and patches against the same in one piece."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from snellen.errors import ContractError
from snellen.models.vrt import VRT
from snellen.ops.video_tiling import VideoTiling, restore, restored_frames
from snellen.trace.measured import peak_above_start
from tiny_vrt import tiny_vrt


def video(frames: int, height: int, width: int, *, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(1, frames, channels, height, width, generator=torch.Generator().manual_seed(seed))


def blurred(clip: Tensor) -> Tensor:
    """Sees two pixels to every side of a frame and no other frame."""
    frames = nn.functional.pad(clip.flatten(0, 1), (2, 2, 2, 2), mode="replicate")
    return torch.unflatten(nn.functional.avg_pool2d(frames, 5, stride=1), 0, clip.shape[:2])


@pytest.mark.parametrize("size", [(9, 20, 33), (2, 16, 16), (7, 5, 40)])
@pytest.mark.parametrize("overlap", [4, 5, 8])
def test_a_network_that_sees_no_farther_than_half_the_overlap_is_the_same(
    size: tuple[int, int, int], overlap: int
) -> None:
    given = video(*size)
    tiling = VideoTiling(frames=4, side=16, frame_overlap=1, overlap=overlap)
    torch.testing.assert_close(restore(blurred, given, tiling=tiling), blurred(given))


def local_vrt() -> VRT:
    """A VRT that looks nowhere but around: no flow, no learned offsets, windows that lie within larger ones."""
    network = tiny_vrt(changes={"depths": (2,) * 9}).eval()
    for name, parameter in network.named_parameters():
        if name.startswith("spynet.") or "conv_offset.6" in name:
            nn.init.zeros_(parameter)
        elif parameter.ndim > 1 and "table" not in name:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return network


@torch.no_grad()
def test_vrt_in_patches_is_vrt_in_one_piece_inside_the_overlap_rule() -> None:
    network, given = local_vrt(), video(2, 32, 352)
    whole = network(given)
    assert (whole - given).abs().mean() > 0.1
    # Windows of 4 at an eighth of the size: patches begin at multiples of 32.
    for overlap, same in ((256, True), (32, False)):
        tiling = VideoTiling(frames=2, side=288, frame_overlap=0, overlap=overlap)
        tiled = restore(network, given, tiling=tiling)
        assert (tiled - whole).abs().max().item() < 1e-4 or not same
        if not same:
            assert not torch.equal(tiled, whole)


@torch.no_grad()
def test_memory_does_not_grow_with_the_length_of_a_video() -> None:
    shallow = {"depths": (1,) * 8, "embed_dims": (8,) * 8, "num_heads": (2,) * 8, "indep_reconsts": ()}
    network = tiny_vrt(changes=shallow).eval()

    def run(length: int) -> None:
        def read(start: int, stop: int) -> tuple[Tensor, ...]:
            return (video(stop - start, 32, 32, seed=start),)

        tiling = VideoTiling(frames=12, side=32, frame_overlap=2, overlap=8)
        assert sum(1 for _ in restored_frames(network, read, length, tiling=tiling)) == length

    run(12)
    short, long = peak_above_start(lambda: run(20)), peak_above_start(lambda: run(200))
    assert long <= 1.02 * short


def test_frames_come_as_soon_as_they_are_done_and_can_be_resumed() -> None:
    read_up_to = []

    def read(start: int, stop: int) -> tuple[Tensor, ...]:
        read_up_to.append(stop)
        return (given[:, start:stop],)

    given = video(20, 8, 8)
    tiling = VideoTiling(frames=6, side=8, frame_overlap=2, overlap=2)
    frames = restored_frames(blurred, read, 20, tiling=tiling)
    first = [next(frames) for _ in range(4)]
    assert read_up_to == [6]
    whole = [*first, *frames]
    resumed = list(restored_frames(blurred, read, 20, tiling=tiling, first=13))
    assert len(resumed) == 7
    assert all(torch.equal(one, other) for one, other in zip(resumed, whole[13:], strict=True))


def test_what_goes_with_the_frames_is_cut_where_they_are() -> None:
    given = video(5, 24, 40)
    smaller = given[..., ::4, ::4]

    def larger_than(clip: Tensor, guide: Tensor) -> Tensor:
        return clip - guide.repeat_interleave(4, dim=3).repeat_interleave(4, dim=4)

    tiling = VideoTiling(frames=4, side=16, frame_overlap=1, overlap=8)
    expected = larger_than(given, smaller)
    torch.testing.assert_close(restore(larger_than, given, smaller, tiling=tiling), expected)
    uncut = VideoTiling(frames=0, side=0, window=(6, 32, 32))
    torch.testing.assert_close(restore(larger_than, given, smaller, tiling=uncut), expected)
    with pytest.raises(ContractError, match="a patch that begins or ends at pixel 10 of 40 falls within a pixel"):
        restore(larger_than, given, smaller, tiling=VideoTiling(side=16, overlap=6))


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"side": 16, "overlap": 16}, "overlap is 16, expected 0 to 15 for parts of 16"),
        ({"frames": 4, "frame_overlap": 4}, "frame_overlap is 4, expected 0 to 3"),
        ({"side": -8, "overlap": 0}, "overlap is 0, expected 0 to 0 for parts of -8"),
        ({"scale": 0}, "scale is 0"),
    ],
)
def test_cuts_that_cannot_be_made_are_refused(numbers: dict[str, Any], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        VideoTiling(**numbers)


def test_a_network_of_another_scale_is_refused() -> None:
    with pytest.raises(ContractError, match="set scale to the network's; it is 2"):
        restore(blurred, video(2, 16, 16), tiling=VideoTiling(side=16, overlap=4, scale=2))
