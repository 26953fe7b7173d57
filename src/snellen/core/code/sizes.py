"""Sizes of images that the text of a file settles, and the sizes that named models take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.code.layers import unpacks, whole
from snellen.core.source import Argument, CallSite, Origin, SourceFile, Span

__all__ = ["FixedSize", "NamedModel", "fed_shapes", "fixed_sizes", "named_model", "patch_of_name", "tensor_shape"]

_PATCH = re.compile(
    r"(?:patch|vit_[a-z]{1,2}_|vit[a-z]{1,2}-?|/)(?P<patch>14|16|8|32)(?!\d)|(?P<v2>dinov2)", re.IGNORECASE
)
_FAMILY = re.compile(r"vit|dino|clip|eva|beit|deit", re.IGNORECASE)
_SIDE = re.compile(r"_(\d{3})(?:\.|$)")
_FIXED_FAMILIES = re.compile(r"^(?:vit|deit3?|beitv?2?)_\w*patch\d+")
_HALVING = frozenset(f"segmentation_models_pytorch.{name}" for name in ("Unet", "UnetPlusPlus", "Linknet", "MAnet"))
_MODES = frozenset({".eval", ".train", ".requires_grad_", ".to", ".cuda", ".half", ".float", "torch.compile"})
_MOVED = frozenset(
    {
        "to",
        "cuda",
        "cpu",
        "float",
        "half",
        "bfloat16",
        "contiguous",
        "requires_grad_",
        "detach",
        "clone",
        "eval",
        "train",
    }
)
_TENSORS = frozenset(f"torch.{name}" for name in ("randn", "rand", "zeros", "ones", "empty"))
_TORCHVISION = "torchvision.models."
_TRANSFORMS = ("torchvision.transforms.", "torchvision.transforms.v2.", "albumentations.")
_BOTH_SIDES = frozenset({"CenterCrop", "RandomCrop", "RandomResizedCrop"})
_RESIZING = _BOTH_SIDES | {
    "Resize",
    "Pad",
    "PadIfNeeded",
    "LongestMaxSize",
    "SmallestMaxSize",
    "RandomSizedCrop",
    "Crop",
}


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model of a library, by what its name and its arguments say.

    Args:
        name: As written.
        call: What makes it.
        channels: Channels of its images, `None` when the text does not settle it.
        patch: Side of its patches, `None` without any.
        side: The only side of images that it takes, `None` when it takes more than one.
        multiple: Sides must be multiples of this.
    """

    name: str
    call: CallSite
    channels: int | None = None
    patch: int | None = None
    side: int | None = None
    multiple: int = 1


@dataclass(frozen=True, slots=True)
class FixedSize:
    """The height and width that a chain of transforms brings every image to."""

    height: int
    width: int
    span: Span
    code: str


def patch_of_name(name: str) -> int | None:
    """The patch size that the name of a Vision Transformer states.

    Example:
        >>> patch_of_name("vit_base_patch16_224"), patch_of_name("dinov2_vits14"), patch_of_name("resnet50")
        (16, 14, None)
    """
    found = _PATCH.search(name) if _FAMILY.search(name) else None
    if found is None:
        return None
    return int(found["patch"]) if found["patch"] else 14


def named_model(call: CallSite) -> NamedModel | None:
    """What a call of timm, torchvision, segmentation_models_pytorch or torch.hub makes."""
    if unpacks(call):
        return None
    if call.name == "timm.create_model":
        return _of_timm(call)
    if call.name.startswith(_TORCHVISION) and re.fullmatch(r"torchvision\.models\.[a-z]\w*", call.name):
        return _of_torchvision(call)
    if call.name in _HALVING:
        depth = call.argument(1, "encoder_depth")
        levels = 5 if depth is None else whole(depth)
        channels = _number(call, 99, "in_channels", 3)
        return NamedModel(
            call.name.rpartition(".")[2], call, channels, multiple=2**levels if levels and levels < 9 else 1
        )
    if call.name == "torch.hub.load" and len(call.arguments) > 1:
        repository, name = call.arguments[0].value, call.arguments[1].value
        if isinstance(repository, str) and isinstance(name, str) and repository.startswith("facebookresearch/dinov2"):
            return (
                NamedModel(name, call, 3, 14, multiple=14) if re.fullmatch(r"dinov2_vit\w14(?:_reg)?", name) else None
            )
    return None


def _number(call: CallSite, position: int, name: str, default: int) -> int | None:
    given = call.argument(position, name)
    return default if given is None else whole(given)


def _of_timm(call: CallSite) -> NamedModel | None:
    given = call.argument(0, "model_name")
    if given is None or not isinstance(given.value, str):
        return None
    name = given.value.rpartition("/")[2]
    options = {argument.name: argument.value for argument in call.arguments if argument.name}
    channels = _number(call, 99, "in_chans", 3)
    patch = _number(call, 99, "patch_size", patch_of_name(name) or 0) or None
    if patch is None or not _FIXED_FAMILIES.match(name) or {"features_only", "img_size_eval"} & set(options):
        return NamedModel(name, call, channels)
    if options.get("dynamic_img_pad") or "dinov3" in name or "naflex" in name:
        return NamedModel(name, call, channels, patch)
    if options.get("dynamic_img_size") or options.get("strict_img_size") is False:
        return NamedModel(name, call, channels, patch, multiple=patch)
    if "img_size" in options:
        side = whole(call.argument(99, "img_size"))
    else:
        stated = _SIDE.search(name)
        side = int(stated[1]) if stated else 518 if "dinov2" in name else None
    known = not {"dynamic_img_size", "dynamic_img_pad", "strict_img_size"} & set(options)
    return NamedModel(name, call, channels, patch, side if known else None)


def _of_torchvision(call: CallSite) -> NamedModel | None:
    name = call.method
    if not re.fullmatch(
        r"(?:resnet|resnext|wide_resnet|vgg|densenet|mobilenet|efficientnet|convnext|vit_|swin_|alexnet)\w*", name
    ):
        return None
    vision = re.fullmatch(r"vit_[a-z]_(\d\d)", name)
    if vision is None:
        return NamedModel(name, call, 3)
    weights = call.argument(99, "weights")
    side = _number(call, 99, "image_size", 224) if weights is None or weights.value is None else None
    return NamedModel(name, call, 3, int(vision[1]), side)


def tensor_shape(origin: Origin | None) -> tuple[int, ...] | None:
    """The sizes of a tensor made of constants: `torch.randn(1, 3, 224, 224)`."""
    if origin is None or origin.name not in _TENSORS or not set(origin.through) <= _MOVED:
        return None
    given = [argument for argument in origin.call.arguments if argument.name in (None, "size")]
    values: list[object] = [argument.value for argument in given]
    if len(values) == 1 and isinstance(values[0], tuple):
        values = list(values[0])
    sizes = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value > 0]
    return tuple(sizes) if sizes and len(sizes) == len(values) else None


def fed_shapes(file: SourceFile) -> Iterator[tuple[NamedModel, Argument, tuple[int, ...]]]:
    """Named models that are called with a tensor of constant sizes."""
    for call in file.calls:
        model = _called_model(call)
        shape = tensor_shape(call.arguments[0].origin) if model is not None and len(call.arguments) == 1 else None
        if model is not None and shape is not None:
            yield model, call.arguments[0], shape


def _called_model(call: CallSite) -> NamedModel | None:
    """The named model that a call runs."""
    origin = None if call.name.startswith(".") or call.conditions else call.receiver_origin
    while origin is not None and origin.name in _MODES:
        origin = origin.call.receiver_origin
    if origin is None or not set(origin.through) <= _MOVED or origin.call.conditions:
        return None
    return named_model(origin.call)


def fixed_sizes(file: SourceFile) -> Iterator[FixedSize]:
    """Sizes that chains of transforms end with, where constants settle them."""
    for chain in file.calls:
        if chain.method == "Compose" and chain.name.startswith(_TRANSFORMS):
            steps = [call for call in file.calls_in(chain.span) if _resizes(call)]
            size = _size_after(steps[-1]) if steps else None
            if size is not None:
                yield FixedSize(*size, steps[-1].span, steps[-1].code)


def _resizes(call: CallSite) -> bool:
    return call.method in _RESIZING and call.name.startswith(_TRANSFORMS)


def _size_after(call: CallSite) -> tuple[int, int] | None:
    """Height and width after a transform, when it settles both."""
    size = call.argument(0, "size")
    if call.name.startswith("albumentations.") and call.method != "RandomResizedCrop":
        height, width = whole(call.argument(0, "height")), whole(call.argument(1, "width"))
        return (height, width) if height and width and call.method in ("Resize", "CenterCrop", "RandomCrop") else None
    if size is None or call.method not in _BOTH_SIDES | {"Resize"}:
        return None
    if isinstance(size.value, tuple):
        sides = [side for side in size.value if isinstance(side, int)]
        return (sides[0], sides[1]) if len(sides) == len(size.value) == 2 else None
    side = whole(size)
    return (side, side) if side is not None and call.method != "Resize" else None
