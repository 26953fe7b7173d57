"""How a project brings images to the scale and to the mean and deviation that a network expects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from snellen.core.calls import UNKNOWN, Argument, CallSite, Span
from snellen.core.code.trails import Step, Trail
from snellen.core.known.backbones import kind_of_constants
from snellen.core.source import SourceFile

__all__ = [
    "BYTE_READERS",
    "Normalisation",
    "Pixels",
    "composed",
    "normalisations",
    "pixels_after",
    "reads_bytes",
    "transformed",
]

BYTE_READERS = frozenset(
    (
        *("cv2.imread", "cv2.imdecode", "PIL.Image.open", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread"),
        *("skimage.io.imread", "torchvision.io.read_image", "torchvision.io.decode_image"),
    )
)
"""Calls that give values from 0 to 255."""
_TRANSFORMS = re.compile(r"^(?:torchvision\.transforms\.(?:v2\.)?|albumentations\.)")
_KEEPING = frozenset(
    (
        *("cv2.resize", "cv2.cvtColor", "cv2.flip", "cv2.copyMakeBorder", "cv2.GaussianBlur", "PIL.Image.fromarray"),
        *(
            "numpy.array",
            "numpy.asarray",
            "numpy.ascontiguousarray",
            "numpy.transpose",
            "numpy.moveaxis",
            "numpy.stack",
        ),
        *("numpy.expand_dims", "numpy.float32", "torch.from_numpy", "torch.tensor", "torch.as_tensor", "torch.stack"),
        *(
            "torch.cat",
            "torch.nn.functional.interpolate",
            "torch.nn.functional.pad",
            "torch.unsqueeze",
            "torch.permute",
        ),
        *("[]", "torchvision.transforms.functional.resize", "torchvision.transforms.functional.pil_to_tensor"),
        *("torchvision.transforms.functional.center_crop", "torch.FloatTensor", "torch.Tensor"),
    )
)
_KEEPING_METHODS = frozenset(
    (
        *("convert", "resize", "crop", "copy", "astype", "float", "half", "to", "cuda", "cpu", "permute", "transpose"),
        *("unsqueeze", "squeeze", "contiguous", "view", "reshape", "numpy", "type", "clone", "detach", "expand"),
    )
)
_COMPOSED = frozenset(
    (
        *("torchvision.transforms.Compose", "torchvision.transforms.v2.Compose", "albumentations.Compose"),
        "torch.nn.Sequential",
    )
)
_FLOATING = re.compile(r"float|half|dtype", re.IGNORECASE)
_GEOMETRY = re.compile(r"Resize|Crop|Flip|Rotation|Affine|PILToTensor|ToImage|Pad|Perspective")


@dataclass(frozen=True, slots=True)
class Normalisation:
    """One place where a mean is subtracted.

    Args:
        call: `Normalize(...)`, `functional.normalize(...)`.
        mean: As given.
        std: As given, `None` when it is not.
        kind: Whose constants they are, see `backbones.CONSTANTS`.
        scale: 1.0, or 255.0 for constants of images from 0 to 255.
    """

    call: CallSite
    mean: Argument
    std: Argument | None
    kind: str
    scale: float


@dataclass(frozen=True, slots=True)
class Pixels:
    """What is known of the values of an image.

    Args:
        top: The largest that they can be.
        whole: Whether they are integers, which `ToTensor` divides by 255.
        divided: The steps of arithmetic that scaled them.
    """

    top: float = 255.0
    whole: bool = True
    divided: tuple[Step, ...] = ()


def normalisations(file: SourceFile) -> Iterator[Normalisation]:
    """The places of a file that normalise with the constants of a known family."""
    for call in file.calls:
        if call.method not in ("Normalize", "normalize") or not _TRANSFORMS.match(call.name):
            continue
        first = 1 if call.method == "normalize" else 0
        mean, std = call.argument(first, "mean"), call.argument(first + 1, "std")
        if mean is None:
            continue
        found = kind_of_constants(mean.value, std.value if std is not None else UNKNOWN)
        if found is not None:
            yield Normalisation(call, mean, std, *found)


def composed(file: SourceFile) -> Iterator[tuple[CallSite, tuple[CallSite, ...]]]:
    """Every `Compose` of a file with its transforms in order."""
    for call in file.calls:
        if call.name in _COMPOSED and call.arguments:
            inside = list(file.calls_in(_list_of(file, call, call.arguments[0])))
            yield call, tuple(one for one in _outermost(inside, call) if _TRANSFORMS.match(one.name))


def _list_of(file: SourceFile, call: CallSite, given: Argument) -> Span:
    """Where the list stands: in the call, or in the assignment of the name that is given."""
    if call.name == "torch.nn.Sequential":
        return call.span
    if not given.code.isidentifier():
        return given.span
    made = [item.span for item in file.assignments if item.target == given.code and item.function == call.function]
    return made[0] if len(made) == 1 else given.span


def _outermost(calls: Sequence[CallSite], around: CallSite) -> Iterator[CallSite]:
    for call in calls:
        inside = any(other is not call and other.span.contains(call.span) for other in calls if other is not around)
        if call is not around and not inside:
            yield call


def reads_bytes(call: CallSite) -> bool:
    """Whether a call reads an image of values from 0 to 255."""
    return call.name in BYTE_READERS


def pixels_after(trail: Trail) -> Pixels | None:
    """What is known of the pixels at the end of a way that starts at a byte reader, `None` when that is lost."""
    pixels: Pixels | None = Pixels()
    for step in trail.steps:
        if pixels is not None and not step.plain:
            pixels = _after(pixels, step)
    return pixels


def transformed(pixels: Pixels, transform: CallSite) -> Pixels | None:
    """What is known of the pixels after one of the transforms of a `Compose`."""
    name = transform.method
    if name in ("ToTensor", "ConvertImageDtype"):
        return Pixels(pixels.top / 255.0, whole=False) if pixels.whole else pixels
    if name == "ToDtype":
        scaled = transform.argument(1, "scale")
        if scaled is not None and scaled.value is not True:
            return None if scaled.value is not False else Pixels(pixels.top, whole=False)
        return Pixels(pixels.top / 255.0 if scaled is not None and pixels.whole else pixels.top, whole=False)
    if name == "ToFloat" and not transform.arguments:
        return Pixels(pixels.top / 255.0, whole=False)
    return pixels if _GEOMETRY.search(name) else None


def _after(pixels: Pixels, step: Step) -> Pixels | None:
    call = step.call
    if step.name in ("/", "/=", "*", "*=") or (step.method in ("div", "div_", "mul", "mul_") and call is not None):
        given = step.value if call is None else call.arguments[0].value if call.arguments else None
        return _scaled(pixels, step, given)
    if call is not None and step.method in ("to_tensor", "convert_image_dtype"):
        return Pixels(pixels.top / 255.0, whole=False) if pixels.whole else pixels
    if call is not None and step.name.startswith("torchvision.transforms.") and step.name.endswith(".forward"):
        return _forwarded(pixels, call)
    if step.method in ("astype", "float", "half", "float32", "FloatTensor", "Tensor", "to", "type"):
        floating = step.method not in ("to", "astype", "type") or (
            call is not None and bool(_FLOATING.search(call.code))
        )
        return replace(pixels, whole=pixels.whole and not floating)
    kept = step.name in _KEEPING or (step.name.startswith(".") and step.method in _KEEPING_METHODS)
    return pixels if kept else None


def _scaled(pixels: Pixels, step: Step, by: object) -> Pixels | None:
    if not isinstance(by, (int, float)) or isinstance(by, bool) or not by:
        return None
    factor = float(by) if step.name.startswith("*") or step.method.startswith("mul") else 1.0 / by
    return Pixels(pixels.top * factor, whole=False, divided=(*pixels.divided, step))


def _forwarded(pixels: Pixels, call: CallSite) -> Pixels | None:
    made = call.receiver_origin.call if call.receiver_origin is not None else None
    if made is None or made.method == "Compose":
        return None
    return transformed(pixels, made)


def wanted_scale(normalize: CallSite) -> float | None:
    """The largest value that the constants of a `Normalize` are for."""
    first = 1 if normalize.method == "normalize" else 0
    mean = normalize.argument(first, "mean")
    values = mean.value if mean is not None and isinstance(mean.value, tuple) else ()
    if not values or not all(isinstance(value, (int, float)) for value in values):
        return None
    return 255.0 if max(values) > 2 else 1.0 if kind_of_constants(values) or max(values) <= 1 else None
