"""What a deblurring run file may say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from snellen.config.schema import Auto, Count, DataConfig, ModelConfig, OptimConfig, Positive, RunConfig, Section, Share

if TYPE_CHECKING:
    from snellen.data.spikes.geometry import SpikeHints

__all__ = [
    "SCHEMA",
    "DeblurData",
    "DeblurLoss",
    "DeblurModel",
    "DeblurOptim",
    "DeblurRun",
    "PerceptualConfig",
    "PredictConfig",
    "SpikeConfig",
    "TileConfig",
]


class SpikeConfig(Section):
    """How spike streams are stored; what is left out is read from a file beside them, or inferred."""

    size: tuple[Count, Count] | None = None
    """Height and width of the sensor."""
    bits: Literal[1, 8] | None = None
    """Bits of one pixel."""
    flip: bool = True
    """Rows are stored from the bottom up."""
    bit_order: Literal["little", "big"] = "little"
    """Of packed pixels."""
    columns: Count | None = None
    """Columns that are kept from the left."""

    def hints(self) -> SpikeHints:
        """The same for those who read streams."""
        from snellen.data.spikes.geometry import SpikeHints  # noqa: PLC0415 - loads numpy

        return SpikeHints(self.size, self.bits, self.flip, self.bit_order, self.columns)


class DeblurData(DataConfig):
    """Folders `SEQUENCE/blur` and `SEQUENCE/sharp`, with `SEQUENCE/spike` or `SEQUENCE/spike_vox` or without."""

    image_size: Count = 256
    """Side of the square crops that the network is trained on; evaluation and prediction use whole frames."""
    clip_length: Annotated[int, Field(ge=2)] = 5
    """Frames of a clip."""
    clip_step: Count = 1
    """Frames from the start of a training clip to the start of the next."""
    motion: Auto | Literal["none", "spikes", "voxels"] = "auto"
    """What lies beside the frames: spike streams, voxel grids computed from them, or nothing that is used."""
    spikes: SpikeConfig = SpikeConfig()
    """How spike streams are stored."""
    voxel_scale: Positive | Auto = "auto"
    """What the counts of a voxel grid are divided by; `auto` is the largest count in some grids of the training set."""
    val_clips: Count | None = None
    """At most this many clips are evaluated during training, evenly spread; all without it."""


class TileConfig(Section):
    """How long and large videos are cut for the network."""

    frames: Annotated[int, Field(ge=0)] = 12
    """Frames of a part; 0 for the whole video at once."""
    side: Annotated[int, Field(ge=0)] = 256
    """Rows and columns of a part; 0 for whole frames."""
    frame_overlap: Annotated[int, Field(ge=0)] = 2
    """Frames that parts share."""
    overlap: Annotated[int, Field(ge=0)] = 24
    """Pixels that parts share."""


class DeblurModel(ModelConfig):
    """Which VRT, where its weights come from, and how it computes."""

    name: Annotated[str, Field(min_length=1)] = "small"
    """`tiny`, `small`, or a published architecture by its name or number, such as `006`."""
    shape: dict[str, Any] = Field(default_factory=dict)
    """Changes of the architecture, such as `{depths: [2, 2, 2, 2, 2, 2, 2, 2]}`."""
    weights: Path | None = None
    """Weights of the network, published or of a run."""
    spynet: Path | None = None
    """Weights of its flow network, where they lie in a file of their own."""
    spikes: Literal["none", "attention", "addition"] = "none"
    """How spikes are fused in: frames attend to the spikes of all frames, or those of their own are added."""
    bins: Annotated[int, Field(ge=1, le=32)] = 32
    """Time bins of a voxel grid."""
    drop_path: Share = 0.1
    """Rate of stochastic depth at the last block."""
    checkpointing: Auto | Literal["none", "attention", "feed-forward", "all"] = "auto"
    """What is computed again in the backward pass instead of being kept; `auto` follows the preset."""
    compile: bool | Auto = "auto"
    """Compile the training step; `auto` follows the preset, and never on a CPU."""
    tile: TileConfig = TileConfig()
    """How whole frames are cut in evaluation and prediction."""


class PerceptualConfig(Section):
    """Distance of VGG-19 features at relu3_3, of images normalised as VGG-19 was trained."""

    weight: Annotated[float, Field(ge=0)] = 0.1
    """Share in the loss; 0 leaves it out."""
    weights: Path | None = None
    """torchvision's VGG-19 from a local file."""
    fetch: bool = False
    """Fetch torchvision's weights; without them the term is left out, and the run says so."""


class DeblurLoss(Section):
    """What is minimised."""

    delta: Positive = 1e-3
    """Of the Charbonnier loss, `sqrt(error ** 2 + delta ** 2)`."""
    perceptual: PerceptualConfig = PerceptualConfig()
    """The perceptual term."""


class DeblurOptim(OptimConfig):
    """How it is learned."""

    optimiser: Auto | Literal["adamw", "adam", "sgd", "adamw-8bit"] = "auto"  # type: ignore[assignment]  # one more
    """Which optimiser; `auto` follows the preset; `adamw-8bit` needs `snellen[low-memory]`."""
    lr: Positive = 2e-4
    """Peak learning rate."""
    batch_size: Count = 1
    """Clips per device and micro-batch."""
    accumulate: Count = 12
    """Micro-batches per optimiser step."""
    epochs: Count = 100
    """Passes over the training clips."""
    warmup: Share = 0.02
    """Share of all steps in which the learning rate rises from 0."""
    spynet_lr: Share = 0.25
    """Learning rate of the flow network as a share of `lr`; 0 keeps it as it is."""
    spynet_frozen: Share = 0.07
    """Share of all steps in which the flow network stays as it is; as 20,000 of 300,000 in the paper."""


class PredictConfig(Section):
    """What prediction writes."""

    video: bool = False
    """Write an MP4 beside the frames."""
    fps: Positive = 25.0
    """Frames a second of the MP4, where the input does not say."""


class DeblurRun(RunConfig):
    """A run of the deblurring task.

    Example:
        >>> DeblurRun(task="deblur").optim.accumulate
        12
    """

    task: Literal["deblur"] = "deblur"
    """What is learned."""
    preset: Literal["fast", "baseline", "low-memory"] = "baseline"
    """`fast` keeps all activations and compiles on a GPU, `baseline` computes them again, `low-memory` also keeps the
    optimiser in 8 bits."""
    data: DeblurData = DeblurData()
    """Where the clips are and how they come in."""
    model: DeblurModel = DeblurModel()
    """Which network."""
    loss: DeblurLoss = DeblurLoss()
    """What is minimised."""
    optim: DeblurOptim = DeblurOptim()
    """How it is learned."""
    predict: PredictConfig = PredictConfig()
    """What prediction writes."""


SCHEMA = DeblurRun
