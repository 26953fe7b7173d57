"""From settings to a network, and from a run's folder back to one."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.engine.checkpoint import load_weights
from snellen.engine.store import Kind
from snellen.errors import ContractError, UsageError, WeightsError
from snellen.models.light_deblur import LightDeblur
from snellen.models.vrt import VRT, Checkpointing, SpikeBranch, VrtArchitecture, load_official, published
from snellen.models.vrt.spikes import SpikeContract
from snellen.models.weights.loading import load_into, read_state_dict
from snellen.ops.video_tiling import VideoTiling
from snellen.report.progress import note
from snellen.tasks.deblur.config import DeblurModel, TileConfig

__all__ = [
    "ARCHITECTURES",
    "LIGHT",
    "Network",
    "Padded",
    "architecture_of",
    "build_network",
    "load_trained",
    "tiling_of",
]

Network = VRT | LightDeblur

LIGHT = "light"
"""Name of the convolutional network."""
_SMALL = VrtArchitecture(
    window_size=(2, 8, 8),
    depths=(4, 4, 4, 4, 4, 4, 4, 2, 2),
    embed_dims=(48,) * 9,
    num_heads=(4,) * 9,
    indep_reconsts=(8,),
    deformable_groups=8,
)
ARCHITECTURES = MappingProxyType(
    {
        "tiny": replace(
            _SMALL,
            window_size=(2, 4, 4),
            depths=(2,) * 7 + (1,),
            embed_dims=(16,) * 8,
            num_heads=(2,) * 8,
            indep_reconsts=(),
            mul_attn_ratio=0.5,
            deformable_groups=2,
        ),
        "small": _SMALL,
    }
)
"""VRTs of our own, by name: `tiny` for tests, `small` for one GPU of a few GB."""


class Padded(nn.Module):
    """A network that takes clips of any size: they are continued by their border, and the result is cut back.

    Args:
        network: Whose `side_multiple` and `smallest_sides` are kept.

    Shapes: `(B, T, 3, H, W)`, and voxels `(B, T, bins, h, w)`, to `(B, T, 3, H, W)`.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        given = network.architecture if isinstance(network, VRT) else network
        self.multiple: int = given.side_multiple
        self.smallest: tuple[int, int] = given.smallest_sides

    def forward(self, clip: Tensor, voxels: Tensor | None = None) -> Tensor:
        """Restore."""
        frames, (height, width) = clip.shape[1], clip.shape[3:]
        wanted = [
            max(-(-side // self.multiple) * self.multiple, least)
            for side, least in zip((height, width), self.smallest, strict=True)
        ]
        padded = _continued(clip, 2, (wanted[0], wanted[1]))
        grids = None
        if voxels is not None:
            size = [side * have for side, have in zip(wanted, voxels.shape[3:], strict=True)]
            if size[0] % height or size[1] % width:
                raise ContractError(
                    f"frames of {height} x {width} with voxels of {voxels.shape[3]} x {voxels.shape[4]} cannot be "
                    f"padded alike to {wanted[0]} x {wanted[1]}",
                    hint="crop both to the field of view that they share, with sides that are multiples of 8",
                )
            grids = _continued(voxels, 2, (size[0] // height, size[1] // width))
        # Not through a compiled call: frames come in many sizes here.
        made: Tensor = self.network.forward(padded, grids)
        return made[:, :frames, :, :height, :width]


def _continued(video: Tensor, frames: int, size: tuple[int, int]) -> Tensor:
    """At least so many frames, and of this size, by repeating the last frame and the border."""
    if video.shape[1] < frames:
        video = torch.cat((video, video[:, -1:].expand(-1, frames - video.shape[1], -1, -1, -1)), dim=1)
    down, across = size[0] - video.shape[3], size[1] - video.shape[4]
    if not down and not across:
        return video
    padded = F.pad(video.flatten(0, 1), (0, across, 0, down), mode="replicate")
    return torch.unflatten(padded, 0, video.shape[:2])


def architecture_of(model: DeblurModel) -> VrtArchitecture:
    """The VRT that the settings name.

    Raises:
        UsageError: There is none of that name, or a change of its shape names nothing.
        ContractError: Its numbers do not belong together.
    """
    try:
        base = ARCHITECTURES.get(model.name) or published(model.name)
    except ContractError as error:
        names = (*ARCHITECTURES, LIGHT)
        raise UsageError(f"model.name: {model.name}, expected {', '.join(names)} or a published VRT",
                         hint=error.hint) from error  # fmt: skip
    known = {field.name for field in fields(VrtArchitecture)}
    unknown = sorted(set(model.shape) - known)
    if unknown:
        raise UsageError(f"model.shape: {', '.join(unknown)}, expected some of {', '.join(sorted(known))}")
    if base.upscale != 1 or not base.pa_frames or base.nonblind_denoising:
        raise UsageError(
            f"model.name: {model.name} is no network for deblurring", hint="005, 006 and 007 are, and small"
        )
    changes: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in model.shape.items()}
    return replace(base, **changes)


def build_network(model: DeblurModel) -> Network:
    """The network with the weights that the settings name, otherwise at its random start.

    A flow network without weights starts at no motion: random flows would only scramble the frames.

    Raises:
        UsageError: There is no such network.
        WeightsError: The weights cannot be read or are of another network.
    """
    contract = None if model.spikes == "none" else SpikeContract(bins=model.bins)
    if model.name == LIGHT:
        light = LightDeblur(spikes=contract, **_options(model))
        if model.weights is not None:
            load_into(light, read_state_dict(model.weights), source=str(model.weights))
        return light
    architecture = architecture_of(model)
    again = model.checkpointing
    branch = None
    if contract is not None:
        fusion: Literal["attention", "addition"] = "attention" if model.spikes == "attention" else "addition"
        branch = SpikeBranch(
            architecture.embed_dims[0],
            contract=contract,
            fusion=fusion,
            heads=architecture.num_heads[0],
            checkpointing=again in ("attention", "all"),
        )
    network = VRT(
        architecture,
        drop_path=model.drop_path,
        checkpointing=Checkpointing(
            attention=again in ("attention", "all"),
            feed_forward=again in ("feed-forward", "all"),
            flow=again == "all",
        ),
        spikes=branch,
    )
    spynet = read_state_dict(model.spynet) if model.spynet is not None else None
    if model.weights is not None:
        load_official(network, read_state_dict(model.weights), source=str(model.weights), spynet=spynet)
    elif spynet is not None:
        names = {name.removeprefix("spynet."): one for name, one in spynet.items()}
        load_into(network.spynet, names, source=str(model.spynet))
    else:
        for level in network.spynet.basic_module:
            for parameter in list(level.parameters())[-2:]:
                nn.init.zeros_(parameter)
    return network


def _options(model: DeblurModel) -> dict[str, Any]:
    unknown = sorted(set(model.shape) - {"width", "blocks", "reach"})
    if unknown:
        raise UsageError(f"model.shape: {', '.join(unknown)}, expected width, blocks, reach for model.name: {LIGHT}")
    return dict(model.shape)


def load_trained(model: DeblurModel, checkpoints: Path | None, *, device: str | None = None) -> Padded:
    """The trained network of a run, or of `model.weights`, in evaluation mode on the best device.

    Raises:
        WeightsError: There are no weights: what it would make of a video is noise.
    """
    if checkpoints is None and model.weights is None:
        raise WeightsError(
            "there are no trained weights: an untrained network returns the blurred frames, with noise",
            hint="train first, then give the run's folder: snellen train RUN.yaml; or set model.weights",
            slug="silent-random-weights",
        )
    if checkpoints is None:
        network = build_network(model)
    else:
        network = build_network(model.model_copy(update={"weights": None, "spynet": None}))
        which: Kind = "best" if (checkpoints / "best").is_dir() else "last"
        for torn in load_weights(network, checkpoints, which=which):
            note(f"passed over {torn}")
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Padded(network).to(place).eval()


def tiling_of(tile: TileConfig) -> VideoTiling:
    """How whole frames are cut."""
    return VideoTiling(
        frames=tile.frames,
        side=tile.side,
        frame_overlap=min(tile.frame_overlap, max(0, tile.frames - 1)),
        overlap=min(tile.overlap, max(0, tile.side - 1)),
        window=(2, 8, 8),
    )
