"""From a picture to a network's input, pixel for pixel as the network's makers do it.

Everything is done by Pillow on 8-bit pixels, as the official preprocessing of CLIP, torchvision and the DINOv2
processor does; only the last step, scaling and normalising, is in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from snellen.errors import ContractError

__all__ = ["CLIP", "DINOV2", "SAM", "Preprocessing", "as_picture", "from_timm", "from_torchvision", "from_transformers"]

Picture = Image.Image | npt.NDArray[Any]
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CHANNELS = 3
_MOST_PIXELS: Final = 100_000_000
"""Of a picture that was resized: more is a strip of one pixel, not a photograph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a picture becomes an input; all sizes in pixels.

    Args:
        resize: Length that one side is brought to, or `(height, width)` whatever the proportions; `None` leaves the
            size.
        edge: Which side `resize` means: the `shorter` one, or the `longer` one.
        pad: `(height, width)` that smaller inputs are filled up to with zeros, right and below, after normalising.
        crop: `(height, width)` that is cut from the centre, `None` without.
        interpolation: With Pillow's antialiasing.
        rgb: Whether colours are converted `before` resizing or `after` it, as CLIP does: palette and transparent
            images come out differently.
        transparency: Whether transparent pixels keep the colour that they hide (`drop`) or are laid on `white`, as
            transformers does.
        margin: How half a pixel of margin is rounded when cropping: to the even number as torchvision does
            (`round`), or down as the processors of transformers do (`floor`).
        mean: Per channel, for values from 0 to 1.
        std: Per channel, for values from 0 to 1.
        source: Where this comes from.

    Example:
        >>> DINOV2.prepare(Image.new("L", (300, 200))).shape
        torch.Size([3, 224, 224])
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    edge: Literal["shorter", "longer"] = "shorter"
    pad: tuple[int, int] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bicubic"
    rgb: Literal["before", "after"] = "before"
    transparency: Literal["drop", "white"] = "drop"
    margin: Literal["round", "floor"] = "round"
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    source: str = ""

    def levels(self, picture: Picture, *, colour: Literal["RGB", "BGR"] | None = None) -> npt.NDArray[np.uint8]:
        """The 8-bit pixels just before normalisation, RGB, shape `(height, width, 3)`.

        Args:
            picture: A Pillow image of any 8-bit mode, or an array as `as_picture` takes it.
            colour: Order of an array's channels.

        Raises:
            ContractError: An array that is not clearly an 8-bit image; a picture of impossible proportions.
        """
        image = as_picture(picture, colour=colour)
        if self.transparency == "white":
            image = _on_white(image)
        if self.rgb == "before":
            image = _to_rgb(image)
        if self.resize is not None:
            target = self._target(image)
            if 0 in target or target[0] * target[1] > _MOST_PIXELS:
                raise ContractError(
                    f"an image of {image.width} x {image.height} would become one of {target[0]} x {target[1]}",
                    hint="cut it: no network sees anything in such proportions",
                    slug="odd-aspect-ratio",
                )
            image = image.resize(target, _RESAMPLING[self.interpolation])
        if self.crop is not None:
            image = self._cut(image, *self.crop)
        return np.array(_to_rgb(image))

    def prepare(self, picture: Picture, *, colour: Literal["RGB", "BGR"] | None = None) -> Tensor:
        """The input of the network: float32, shape `(3, height, width)`, normalised.

        Args:
            picture: As for `levels`.
            colour: As for `levels`.

        Raises:
            ContractError: As `levels`.
        """
        return self.collate([self.levels(picture, colour=colour)])[0].contiguous()

    def collate(self, levels: Sequence[npt.NDArray[np.uint8]], *, device: torch.device | None = None) -> Tensor:
        """A batch from what `levels` gives: float32, shape `(B, 3, height, width)`, normalised.

        In memory the channels come last, as in `levels`, unless this preprocessing pads.

        Args:
            levels: Of equal size, unless this preprocessing pads.
            device: Where the arithmetic is done; the bytes travel, not the floats.
        """
        if self.pad is None:
            return self.normalise(torch.from_numpy(np.stack(levels)).to(device))
        batch = torch.zeros(len(levels), _CHANNELS, *self.pad, device=device)
        for row, one in zip(batch, levels, strict=True):
            row[:, : one.shape[0], : one.shape[1]] = self.normalise(torch.from_numpy(one).to(device)[None])[0]
        return batch

    def normalise(self, levels: Tensor) -> Tensor:
        """Scale and shift 8-bit pixels.

        Args:
            levels: Values 0 to 255, shape `(B, height, width, 3)`.

        Returns:
            Shape `(B, 3, height, width)`, a view of memory in which the channels come last.
        """
        batch, height, width, channels = levels.shape
        # Whole rows at a time: a quarter of the time that arithmetic on every third number takes.
        rows = levels.reshape(batch * height, width * channels).float().div_(255)
        mean = torch.tensor(self.mean, device=levels.device).repeat(width)
        std = torch.tensor(self.std, device=levels.device).repeat(width)
        return rows.sub_(mean).div_(std).view(levels.shape).permute(0, 3, 1, 2)

    @property
    def input_size(self) -> tuple[int, int] | None:
        """`(height, width)` of every input, `None` when it depends on the picture."""
        if self.crop is not None or self.pad is not None:
            return self.crop or self.pad
        return self.resize if isinstance(self.resize, tuple) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for fingerprints and reports."""
        return {name: getattr(self, name) for name in self.__slots__}

    def _target(self, image: Image.Image) -> tuple[int, int]:
        """`(width, height)` to resize to, as Pillow takes it."""
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        assert self.resize is not None  # noqa: S101 - asked by `levels`
        width, height = image.size
        if self.edge == "longer":
            scale = self.resize / max(width, height)
            return int(width * scale + 0.5), int(height * scale + 0.5)
        long = int(self.resize * max(width, height) / min(width, height))
        return (self.resize, long) if width <= height else (long, self.resize)

    def _cut(self, image: Image.Image, height: int, width: int) -> Image.Image:
        round_margin = round if self.margin == "round" else math.floor
        top, left = int(round_margin((image.height - height) / 2)), int(round_margin((image.width - width) / 2))
        # Where the picture is smaller than the cut, Pillow fills with black, as the official transforms do.
        return image.crop((left, top, left + width, top + height))


CLIP: Final = Preprocessing(
    resize=224,
    crop=(224, 224),
    rgb="after",
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    source="the transform that openai/CLIP returns with its models",
)
"""CLIP at 224 pixels. timm's configuration of the same weights crops 90% instead."""

DINOV2: Final = Preprocessing(
    resize=256,
    crop=(224, 224),
    transparency="white",
    margin="floor",
    source="the processor published with facebook/dinov2 on the hub",
)
"""DINOv2's evaluation transform."""
SAM: Final = Preprocessing(
    resize=1024,
    edge="longer",
    crop=None,
    pad=(1024, 1024),
    interpolation="bilinear",
    source="ResizeLongestSide and Sam.preprocess of facebookresearch/segment-anything",
)
"""Segment Anything's. Its mean and deviation are ImageNet's in units of 0 to 255."""


def as_picture(picture: Picture, *, colour: Literal["RGB", "BGR"] | None = None) -> Image.Image:
    """A Pillow image from an image or an array, refusing what would have to be guessed.

    Args:
        picture: A Pillow image, returned as it is; or an array of uint8 and shape `(height, width)` or
            `(height, width, 3)`.
        colour: Order of an array's channels: `RGB` (Pillow, imageio, torchvision) or `BGR` (OpenCV).

    Raises:
        ContractError: Another dtype, range, layout, or an order of channels that is not stated; the message names
            what it looks like and the line that mends it.

    Example:
        >>> as_picture(np.zeros((4, 6, 3), np.uint8), colour="BGR").size
        (6, 4)
    """
    if isinstance(picture, Image.Image):
        return picture
    array = np.asarray(picture)
    _refuse_values(array)
    if array.ndim == 2:
        return Image.fromarray(array)
    if array.ndim != _CHANNELS or array.shape[2] != _CHANNELS:
        first = array.ndim == _CHANNELS and array.shape[0] == _CHANNELS
        raise ContractError(
            f"an array of shape {array.shape}, expected (height, width, 3) or (height, width)"
            + (", which looks like (3, height, width)" if first else ""),
            hint="array.transpose(1, 2, 0)" if first else "one picture at a time, three channels or none",
            slug="layout-scrambled" if first else "channel-mismatch",
        )
    if colour is None:
        raise ContractError(
            "an array does not say in which order its channels are",
            hint='colour="BGR" for cv2.imread, colour="RGB" for Pillow, imageio and torchvision',
            slug="colour-order",
        )
    return Image.fromarray(np.ascontiguousarray(array[:, :, ::-1] if colour == "BGR" else array))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image  # Pillow would copy it
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        # The colours are those of the palette either way; Pillow would warn that transparency is lost.
        image = image.copy()
        del image.info["transparency"]
    return image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA"))


def _refuse_values(array: npt.NDArray[Any]) -> None:
    if array.dtype == np.uint8:
        return
    if array.dtype == np.bool_:
        raise ContractError("an array of bool, expected uint8", hint="array.astype(numpy.uint8) * 255")
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    low, high = (float(finite.min()), float(finite.max())) if finite.size and finite.dtype.kind in "fiu" else (0.0, 0.0)
    if low < 0:
        hint = "it is normalised already: give the picture as it was before"
    elif high <= 1:
        hint = "(array * 255).round().astype(numpy.uint8)"
    elif high <= 255:
        hint = "array.round().astype(numpy.uint8)"
    else:
        hint = "scale it to 0 to 255 first; of 12- and 16-bit cameras the range must be known"
    raise ContractError(
        f"an array of {array.dtype} with values {low:g} to {high:g}, expected uint8 with 0 to 255",
        hint=hint,
        slug="float64-input" if array.dtype == np.float64 else "wrong-normalisation",
    )


def from_timm(config: Mapping[str, Any]) -> Preprocessing:
    """What timm's evaluation transform does.

    Args:
        config: `network.pretrained_cfg`.

    Example:
        >>> from_timm({"input_size": (3, 224, 224), "crop_pct": 0.875, "mean": (0.5,) * 3, "std": (0.5,) * 3}).resize
        256
    """
    _, height, width = config["input_size"]
    share = config.get("crop_pct") or 0.875
    resize: int | tuple[int, int]
    if config.get("crop_mode") == "squash" or height != width:
        resize = (math.floor(height / share), math.floor(width / share))
    else:
        resize = math.floor(height / share)
    interpolation = config.get("interpolation", "bicubic")
    return Preprocessing(
        resize=resize,
        crop=(height, width),
        interpolation=interpolation if interpolation in _RESAMPLING else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        source="timm's pretrained_cfg",
    )


def from_torchvision(weights: Any) -> Preprocessing:
    """What the transforms of torchvision's weights do.

    Args:
        weights: An entry of a `torchvision.models` weights enumeration, such as `ResNet50_Weights.IMAGENET1K_V1`.
    """
    preset = weights.transforms()
    return Preprocessing(
        resize=int(preset.resize_size[0]),
        crop=(int(preset.crop_size[0]),) * 2,
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        source=f"torchvision's {weights}",
    )


def from_transformers(config: Mapping[str, Any]) -> Preprocessing:
    """What an image processor of transformers does.

    Args:
        config: The content of `preprocessor_config.json`.

    Example:
        >>> from_transformers({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}).resize
        256
    """
    size, crop = config.get("size") or {}, config.get("crop_size") or {}
    if isinstance(size, int):
        size = {"shortest_edge": size}
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    resize = size.get("shortest_edge") or ((size["height"], size["width"]) if "height" in size else None)
    cut = (crop["height"], crop["width"]) if crop and config.get("do_center_crop", True) else None
    names: tuple[Literal["nearest", "lanczos", "bilinear", "bicubic"], ...] = (
        "nearest",
        "lanczos",
        "bilinear",
        "bicubic",
    )
    return Preprocessing(
        resize=resize if config.get("do_resize", True) else None,
        crop=cut,
        interpolation=names[int(config.get("resample", 3))],
        transparency="white",
        margin="floor",
        mean=tuple(config.get("image_mean") or _IMAGENET_MEAN),
        std=tuple(config.get("image_std") or _IMAGENET_STD),
        source="the processor configuration of transformers",
    )
