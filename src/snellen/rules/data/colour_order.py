"""Images in OpenCV's order of colours are given to something that expects RGB, or the other way round.

What happens
------------
Nothing fails. A pretrained network loses a few points of accuracy, a detector misses what it found in the demo, SAM
and CLIP are less sure than they should be; pictures that are shown or saved have orange skies and blue skin.

Why
---
`cv2.imread`, `cv2.imdecode` and `VideoCapture.read` give blue, green, red. PIL, torchvision, timm, transformers, CLIP,
SAM and matplotlib expect red, green, blue, and the mean and standard deviation of ImageNet are in that order, too.
`cv2.imwrite`, `cv2.imshow` and `VideoWriter.write` expect blue first. An array does not say which order it is in.
OpenMMLab's preprocessors swap with `to_rgb` or `bgr_to_rgb`, which has to fit the order of their mean.

How to confirm
--------------
Show one batch as the network gets it: undo the normalisation, then
`torchvision.utils.save_image(images, "batch.png")`. Skin, sky and grass tell at once.

Fix
---
`image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)` right after reading, or `cv2.imread(path, cv2.IMREAD_COLOR_RGB)` with
OpenCV 4.11 and later; `cv2.COLOR_RGB2BGR` before something that OpenCV writes. A network that was trained on the
swapped order has to be trained again.

Before a run, `do_flip_channel_order` in `preprocessor_config.json` beside the checkpoint is compared with what the
run's network takes: MobileViT of transformers takes BGR.

When it is something else
-------------------------
Ultralytics, Detectron2, OpenMMLab and InsightFace take BGR arrays on purpose. Wrong brightness or contrast rather than
wrong hues is a matter of the constants: see `wrong-normalisation`. Pictures that look like noise have their axes
mixed up: see `layout-scrambled`.

Sources
-------
- `cv2.imread` gives BGR: https://docs.opencv.org/4.x/d4/da8/group__imgcodecs.html
- Models of torchvision, how images have to be prepared: https://docs.pytorch.org/vision/stable/models.html
- `SamPredictor.set_image`, `image_format`:
  https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/predictor.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.code.flow import Flow, Starts, Step, Trail
from snellen.core.code.trails import parts_of
from snellen.core.facts.pixels import other_order
from snellen.core.finding import Evidence, Fix, FixSafety, Level
from snellen.core.known.backbones import NETWORK_WORDS, backbones, kind_of_constants, network_of, place
from snellen.core.plan import Cost
from snellen.core.rule import BeforeFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, Assignment, CallSite, Hit, SourceFile, Span

__all__ = ["RULE"]

_RGB_READERS = frozenset(
    (
        *("PIL.Image.open", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread", "skimage.io.imread"),
        *("matplotlib.pyplot.imread", "matplotlib.image.imread"),
    )
)
_DRAWN = ("rectangle", "putText", "circle", "line", "polylines", "addWeighted", "normalize", "add", "convertScaleAbs")
_GEOMETRY = ("resize", "copyMakeBorder", "flip", "rotate", "warpAffine", "warpPerspective", "remap", "undistort")
_SMOOTHED = ("GaussianBlur", "medianBlur", "bilateralFilter", "blur", "fastNlMeansDenoisingColored", "filter2D", "LUT")
_ARRAYS = (
    *("array", "asarray", "ascontiguousarray", "float32", "uint8", "clip", "pad", "stack", "concatenate", "copy"),
    *("expand_dims", "transpose", "moveaxis", "rollaxis", "squeeze", "flipud", "fliplr", "rot90", "vstack", "hstack"),
)
_TENSORS = (
    *("from_numpy", "tensor", "as_tensor", "stack", "cat", "unsqueeze", "squeeze", "permute", "clamp", "FloatTensor"),
    *("nn.functional.interpolate", "nn.functional.pad", "Tensor"),
)
_KEEPING = frozenset(
    (
        *(f"cv2.{name}" for name in (*_DRAWN, *_GEOMETRY, *_SMOOTHED)),
        *(f"numpy.{name}" for name in _ARRAYS),
        *(f"torch.{name}" for name in _TENSORS),
        *("PIL.Image.fromarray", "PIL.ImageOps.exif_transpose", "copy.deepcopy", "copy.copy", "str", "numpy.flipud"),
        *("/", "*", "-", "+", "/=", "*=", "-=", "+=", "//", ".T", ".data", ".image"),
    )
)
_KEEPING_METHODS = frozenset(
    (
        *(
            "astype",
            "copy",
            "transpose",
            "permute",
            "unsqueeze",
            "squeeze",
            "to",
            "cuda",
            "cpu",
            "float",
            "half",
            "clone",
        ),
        *("contiguous", "resize", "crop", "div", "div_", "mul", "mul_", "sub", "sub_", "add", "add_", "clip", "clamp"),
        *("numpy", "reshape", "view", "expand", "repeat", "type", "detach", "swapaxes", "pin_memory", "thumbnail"),
    )
)
_TRANSFORMS = re.compile(r"^(?:torchvision\.transforms|albumentations)\.")
_UNKNOWN_TRANSFORM = re.compile(r"(?:transform|preprocess|augment|tfms?)s?$", re.IGNORECASE)
_MIRRORED = re.compile(r"\[\s*:\s*,\s*::-1\s*(?:,\s*:\s*)?\]$")
_SWAPPED = re.compile(r"::-1|2\s*,\s*1\s*,\s*0|,\s*-?\d+\s*\]$")
_NO_PICTURE = re.compile(
    r"mask|label|seg|depth|gr[ae]y|alpha|trimap|heat|flow|disp|edge|thermal|binary|_gt\b|annot", re.IGNORECASE
)
_PICTURE = re.compile(r"im(?:g|age|s\b)|pic|photo|rgb|frame|colou?r|vis|canvas|crop", re.IGNORECASE)
_SEGMENTERS = re.compile(r"(?:Sam|SAM)\w*(?:Predictor|MaskGenerator)|sam2?_model_registry")
_CONVERTED = re.compile(r"BGR2|RGB2BGR|\.\.\., ?::-1|:, ?:, ?::-1|\[2, ?1, ?0\]|swapRB", re.IGNORECASE)
_TAKES_ARRAYS = frozenset(
    {"PIL.Image.fromarray", "torch.from_numpy", "torch.tensor", "torch.as_tensor", "torch.Tensor"}
)


@dataclass(frozen=True, slots=True)
class _Sink:
    """Something that expects one of the two orders."""

    value: Argument | Assignment
    call: CallSite | None
    what: str
    order: str = "RGB"
    evidence: tuple[Evidence, ...] = ()
    shown: bool = False
    picture: bool = False
    """Whether it is what the method is called on that counts: a picture of PIL."""


def _examine(file: SourceFile) -> Iterator[Hit]:
    yield from _preprocessors(file)
    if "cv2" in file.text or "imread" in file.text:
        yield from _followed(file)


def _preprocessors(file: SourceFile) -> Iterator[Hit]:
    """OpenMMLab's preprocessors, in Python or YAML: constants in one order, `to_rgb` for the other."""
    for call in file.calls:
        mean, switch = call.argument(99, "mean"), call.argument(99, "to_rgb") or call.argument(99, "bgr_to_rgb")
        if mean is not None and switch is not None:
            yield from _disagreeing(file, mean.value, switch.value, switch.span, switch.name or "to_rgb")
    by_key = {setting.key: setting for setting in file.settings}
    for setting in file.settings:
        above, _, last = setting.key.rpartition(".")
        constants = by_key.get(f"{above}.mean" if above else "mean")
        if last in ("to_rgb", "bgr_to_rgb") and constants is not None:
            yield from _disagreeing(file, constants.value, setting.value, setting.span, last)


def _disagreeing(file: SourceFile, mean: object, switch: object, span: Span, name: str) -> Iterator[Hit]:
    reverse = tuple(reversed(mean)) if isinstance(mean, (tuple, list)) else None
    order = "RGB" if kind_of_constants(mean) else "BGR" if kind_of_constants(reverse) else None
    if order is None or not isinstance(switch, bool) or switch is (order == "RGB"):
        return
    written = ("true" if file.settings else "True") if order == "RGB" else ("false" if file.settings else "False")
    message = f"the mean is in the order {order}, and {name} is {str(switch).lower() if file.settings else switch}"
    reason = "weights may have been trained on the swapped order"
    edits = (file.edit(span, written),)
    yield Hit(message, span, Fix(f"Write {written} for {name}.", FixSafety.UNSAFE, reason, edits=edits))


def _followed(file: SourceFile) -> Iterator[Hit]:
    flow, told = Flow(file), set[tuple[str, Span]]()
    for sink in (*_called(file), *_returned(file)):
        starts = _is_bgr if sink.order == "RGB" else _is_rgb
        trails = _ways(flow, sink, starts)
        ways = [trail for trail in trails if trail.start.call is not None and starts(trail.start.call)]
        if any(not _keeps(step, sink) for trail in ways for step in trail.changes):
            continue
        for trail in ways:
            key = (trail.start.path, trail.start.span)
            if key in told or _in_grey(trail) or (sink.order == "BGR" and not _coloured(trail)):
                continue
            told.add(key)
            yield _hit(file, sink, trail)


def _ways(flow: Flow, sink: _Sink, starts: Starts) -> list[Trail]:
    if not sink.picture or sink.call is None:
        return flow.trails(sink.value, sink.call, starts)
    made = flow.receiver(sink.call, starts)
    return [trail for trail in made if any(step.name == "PIL.Image.fromarray" for step in trail.steps)]


def _is_bgr(call: CallSite) -> bool:
    if call.name in ("cv2.imread", "cv2.imdecode"):
        flags = call.argument(1, "flags")
        plain = flags is None or flags.value == 1 or flags.code.rpartition(".")[2] == "IMREAD_COLOR"
        return plain and not _NO_PICTURE.search(
            f"{call.target or ''} {call.arguments[0].code if call.arguments else ''}"
        )
    made = call.receiver_origin.name if call.receiver_origin is not None else ""
    return call.method in ("read", "retrieve") and made == "cv2.VideoCapture"


def _is_rgb(call: CallSite) -> bool:
    return call.name in _RGB_READERS


def _keeps(step: Step, sink: _Sink) -> bool:
    """Whether a step leaves the three colours in their order, and all of them there."""
    if sink.call is None and _UNKNOWN_TRANSFORM.search(step.method):
        # Nothing in the whole project swaps colours.
        return True
    if step.name == "[]":
        index = step.code[step.code.rfind("[") :] if step.code.count("[") == 1 else step.code
        return bool(_MIRRORED.search(index)) or not _SWAPPED.search(index)
    if step.name in ("torch.flip", "numpy.flip") or step.method == "flip":
        return step.name == "cv2.flip"
    if step.method == "convert":
        mode = step.call.argument(0, "mode") if step.call is not None else None
        return mode is not None and mode.value == "RGB"
    known = step.name in _KEEPING or (step.name.startswith(".") and step.method in _KEEPING_METHODS)
    return known or bool(_TRANSFORMS.match(step.name) and "gray" not in step.name.lower())


def _in_grey(trail: Trail) -> bool:
    call = trail.start.call
    return any(_NO_PICTURE.search(name) for name in trail.names) or (
        call is not None and bool(call.arguments) and bool(_NO_PICTURE.search(call.arguments[0].code))
    )


def _coloured(trail: Trail) -> bool:
    """Whether what was read is surely a picture of three colours."""
    start = trail.start.call
    named = [*trail.names, *(argument.code for argument in (start.arguments if start is not None else ()))]
    return any(step.method == "convert" for step in trail.steps) or bool(_PICTURE.search(" ".join(named)))


# -- what expects which order -------------------------------------------------------------------------------------


def _called(file: SourceFile) -> Iterator[_Sink]:
    for call in file.calls:
        first = call.argument(0, "image") or call.argument(0, "images")
        if first is None:
            continue
        if call.name in ("cv2.imwrite", "cv2.imshow"):
            second = call.argument(1, "img") or call.argument(1, "mat")
            if second is not None:
                yield _Sink(second, call, f"`{call.name}`", "BGR", shown=True)
        elif call.method == "write" and _made_by(call, "cv2.VideoWriter"):
            yield _Sink(first, call, "`VideoWriter.write`", "BGR", shown=True)
        elif call.name in (".save", ".show") and "PIL" in file.text and call.receiver is not None:
            yield _Sink(first, call, f"`Image.{call.method}`", shown=True, picture=True)
        elif _shows(call):
            yield _Sink(first, call, f"`{call.name.lstrip('.')}`", shown=True)
        else:
            yield from _network(call, first, file)


def _shows(call: CallSite) -> bool:
    if call.name in ("matplotlib.pyplot.imshow", "wandb.Image", "PIL.ImageTk.PhotoImage") or (
        call.name == ".imshow" and "cv2" not in call.code
    ):
        return call.argument(99, "cmap") is None
    return False


def _made_by(call: CallSite, *names: str) -> bool:
    return call.receiver_origin is not None and call.receiver_origin.name in names


def _network(call: CallSite, first: Argument, file: SourceFile) -> Iterator[_Sink]:
    origin = call.receiver_origin
    made = origin.name if origin is not None else ""
    images = call.argument(99, "images") or call.argument(99, "image") or first
    if call.name.startswith("torchvision.transforms.") and (constants := _constants(call, file)):
        yield _Sink(first, call, "the mean and standard deviation in the order RGB", evidence=constants)
    elif call.name == "albumentations.Compose.forward" and origin is not None and "Normalize(" in origin.call.code:
        if not _reversed_constants(origin.call.code):
            yield _Sink(images, call, "`albumentations.Normalize`", evidence=(_at(file, origin.call),))
    elif made.startswith("transformers.") and re.search(r"Processor|FeatureExtractor", made):
        yield _Sink(images, call, f"`{made.split('.')[1]}`")
    elif call.method in ("set_image", "generate") and _SEGMENTERS.search(made):
        told = call.argument(1, "image_format")
        if told is None or told.value == "RGB":
            yield _Sink(first, call, f"`{made.rpartition('.')[2]}.{call.method}`")
    elif made.startswith("mediapipe.") and call.method == "process":
        yield _Sink(first, call, "mediapipe")
    elif call.name.startswith("face_recognition.face_"):
        yield _Sink(first, call, "face_recognition")
    elif origin is not None and not call.method.startswith(("load", "to", "eval", "train")):
        network = network_of(call, file)
        if network is not None:
            yield _Sink(images, call, f"`{network.name}`", evidence=(network.evidence,))


def _constants(call: CallSite, file: SourceFile) -> tuple[Evidence, ...]:
    """Where a transform states means that are in the order RGB."""
    origin = call.receiver_origin
    if call.method == "normalize":
        mean = call.argument(1, "mean")
        found = kind_of_constants(mean.value) if mean is not None else None
        return (_at(file, call),) if found is not None else ()
    if origin is None or not call.name.endswith(".forward"):
        return ()
    for other in parts_of(file):
        for inner in other.calls_in(origin.call.span):
            if inner.method == "Normalize" and inner.name.startswith("torchvision.transforms."):
                mean = inner.argument(0, "mean")
                if mean is not None and kind_of_constants(mean.value) is not None:
                    return (_at(other, inner),)
    return ()


def _reversed_constants(code: str) -> bool:
    return re.search(r"0?\.406\s*,\s*0?\.456|103\.53", code) is not None


def _at(file: SourceFile, call: CallSite) -> Evidence:
    return Evidence(" ".join(call.code.split())[:120], place(file.path, call.span))


def _returned(file: SourceFile) -> Iterator[_Sink]:
    """What a data set gives to a network of the project that was trained on RGB."""
    samples = [item for item in file.assignments if item.target == "return" and item.function.endswith("__getitem__")]
    if not samples or "cv2" not in file.text:
        return
    parts = parts_of(file)
    networks = [network for part in parts for network in backbones(part)]
    if not networks or any(_CONVERTED.search(part.text) or _reversed_constants(part.text) for part in parts):
        return
    what = f"`{networks[0].name}`, which was trained on RGB"
    for item in samples:
        yield _Sink(item, None, what, evidence=(networks[0].evidence,))


# -- what is said -----------------------------------------------------------------------------------------------------


def _hit(file: SourceFile, sink: _Sink, trail: Trail) -> Hit:
    start, place_ = trail.start, sink.value.span
    read = "RGB" if sink.order == "BGR" else "BGR"
    name = start.name if not start.name.startswith(".") else "VideoCapture.read"
    verb = "shows" if sink.shown and sink.order == "RGB" else "expects"
    what = "expects" if sink.order == "BGR" else verb
    message = f"`{name}` gives {read}, and {sink.what} {what} {sink.order}"
    here = Evidence(f"read here: {' '.join(start.code.split())[:120]}", place(start.path, start.span))
    level = Level.WARNING if sink.shown else None
    return Hit(message, place_, _fix(file, sink, trail, f"{read}2{sink.order}"), (here, *sink.evidence), level)


def _fix(file: SourceFile, sink: _Sink, trail: Trail, code: str) -> Fix:
    text = f"Convert it before: `cv2.cvtColor(image, cv2.COLOR_{code})`."
    cv2 = next((local for local, name in file.imports.items() if name == "cv2"), None)
    target = _array_at(file, sink, trail)
    if cv2 is None or target is None:
        return Fix(text)
    span, written = target
    converted = f"{cv2}.cvtColor({written}, {cv2}.COLOR_{code})"
    reason = "a network that was trained on the swapped order has to be trained again"
    return Fix(
        f"Write `{converted}`.",
        FixSafety.UNSAFE,
        "it changes the colours that are shown or written" if sink.shown else reason,
        edits=(file.edit(span, converted),),
    )


def _array_at(file: SourceFile, sink: _Sink, trail: Trail) -> tuple[Span, str] | None:
    """The last place in this file where the picture is still an array that OpenCV can convert."""
    if sink.order == "BGR":
        # OpenCV is given an array in any case.
        return sink.value.span, sink.value.code
    place_: tuple[Span, str] | None = None
    for step in trail.steps:
        if step.path != file.path:
            continue
        if step.plain:
            # The list of a loader or of a comprehension is no picture; what is put into it or taken from it is one.
            own = step.call is not None and step.method not in ("DataLoader", "enumerate", "zip", "list", "tqdm")
            place_ = (step.span, step.code) if own or step.name in ("append", "item") else None
        elif step.name.startswith("cv2."):
            place_ = step.span, step.code
        else:
            taken = step.call.arguments[0] if step.call is not None and step.call.arguments else None
            takes = step.name in _TAKES_ARRAYS or _TRANSFORMS.match(step.name) or _UNKNOWN_TRANSFORM.search(step.method)
            return (taken.span, taken.code) if taken is not None and takes else place_
    listed = any(step.name == "append" for step in trail.steps)
    return (sink.value.span, sink.value.code) if isinstance(sink.value, Argument) and not listed else place_


RULE = Rule(
    slug="colour-order",
    family="data",
    title="Images are in the wrong order of colours",
    level=Level.ERROR,
    log=absent("swapped colours raise nothing and print nothing"),
    source=SourceFacet(("cv2", "imageio", "skimage", "to_rgb", *NETWORK_WORDS), _examine),
    before=BeforeFacet(Cost.SECONDS, other_order),
    during=absent("swapped colours cost accuracy, which no single step shows"),
    module=__name__,
)
