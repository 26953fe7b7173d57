"""Images are normalised otherwise than the pretrained network was trained on.

What happens
------------
Nothing fails. A frozen CLIP or DINOv2 gives features that are a little off, a fine-tuned network needs more epochs to
arrive at less, a perceptual loss measures something else. With pixels on the wrong scale (0 to 255 where 0 to 1 is
meant, or divided by 255 twice) the network sees white or black and stays at chance.

Why
---
A pretrained network expects the mean and the standard deviation of its own training: (0.485, 0.456, 0.406) for the
models of torchvision and most of timm, (0.481, 0.458, 0.408) for CLIP, 0.5 for Google's ViTs, SigLIP and BEiT;
detectors of torchvision normalise by themselves. Constants for values up to 1 do not fit bytes: `ToTensor` divides
integers by 255 and leaves floating point numbers alone, `v2.ToDtype` divides only with `scale=True`,
`albumentations.Normalize` divides by itself.

How to confirm
--------------
Print `images.amin(), images.amax(), images.mean((0, 2, 3))` of a batch as the network gets it: with ImageNet's
constants that is about -2.1, 2.6 and near 0. Compare with `timm.data.resolve_model_data_config(model)`,
`weights.transforms()` or the processor of the checkpoint.

Fix
---
Take the constants from the library: `timm.data.create_transform(**resolve_model_data_config(model))`,
`ResNet50_Weights.DEFAULT.transforms()`, `AutoImageProcessor.from_pretrained(name)`, the `preprocess` that `clip.load`
returns. Scale first, normalise second, once.
Before a run, `preprocessor_config.json`, `config.json` (timm) or `open_clip_config.json` beside the checkpoint is
compared with what the run's network takes: timm knows one name for several trainings, which differ in their constants.

When it is something else
-------------------------
Swapped hues are `colour-order`. A network trained from scratch may be normalised in any way, as long as it is the same
in training and use. Loss that is NaN from the first step on: see `nan-loss`.

Sources
-------
- Preprocessing of torchvision's weights: https://docs.pytorch.org/vision/stable/models.html
- timm, `resolve_model_data_config`: https://huggingface.co/docs/timm/quickstart
- `ToTensor` and scaling: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.ToTensor.html
- `albumentations.Normalize`, `max_pixel_value`:
  https://albumentations.ai/docs/api-reference/albumentations/augmentations/pixel/transforms/
- Johnson et al., Perceptual Losses: https://arxiv.org/abs/1603.08155
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.flow import Flow, Trail
from snellen.core.code.normalising import (
    Normalisation,
    Pixels,
    composed,
    normalisations,
    pixels_after,
    reads_bytes,
    transformed,
    wanted_scale,
)
from snellen.core.code.trails import parts_of
from snellen.core.facts.pixels import other_constants
from snellen.core.finding import Edit, Evidence, Fix, FixSafety, Level
from snellen.core.known.backbones import (
    CONSTANTS,
    NETWORK_WORDS,
    Backbone,
    backbones,
    kind_of_constants,
    kind_of_name,
    network_of,
    only_kind,
)
from snellen.core.plan import Cost
from snellen.core.rule import BeforeFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, Assignment, CallSite, Hit, Setting, SourceFile, Span

__all__ = ["RULE"]

_FAMILIES = {"imagenet": "ImageNet's", "clip": "CLIP's", "half": "0.5, as Google's ViTs take,"}
_TO_TENSOR = ("ToTensor", "PILToTensor", "ToImage", "ToImageTensor")
_OWN_TRANSFORM = re.compile(
    r"resolve_(?:model_)?data_config|create_transform|\.transforms\(\)|(?:Image)?Processor\.from_pretrained|FeatureExtractor"
    r"|preprocess(?:_val|_train)?\("
)
_RETRAIN = "a network that was fine-tuned with the old numbers has to be fine-tuned again"
_READ = re.compile(r"imread|imdecode|Image\.open|read_image|decode_image")
_FLOAT = re.compile(r"\d+\.\d+")
_PERCEPTUAL = re.compile(
    r"percep|vgg_?\d*_?loss|loss_?vgg|lpips|content|style|feature_?(?:loss|match|extract)", re.IGNORECASE
)
_NORMALISES = re.compile(r"mean|std|normali[sz]e|0\.485|preprocess|transforms\(", re.IGNORECASE)
_MODEL_KEYS = re.compile(
    r"(?:^|[._])(?:model|backbone|arch\w*|encoder|name|pretrained|checkpoint|weights|net\w*)(?:_\w+)?$"
)
_MEAN_KEYS = re.compile(r"(?:^|[._])(?:pixel_|img_|image_|norm\w*_)?mean$")


def _examine(file: SourceFile) -> Iterator[Hit]:
    if file.settings:
        yield from _settings(file)
        return
    told = set[Span]()
    for hit in (*_composed(file), *_scales(file), *_constants(file), *_perceptual(file)):
        if hit.span not in told:
            told.add(hit.span)
            yield hit


def _about(value: float, wanted: float) -> bool:
    return abs(value / wanted - 1) < 0.02


# -- within a Compose -------------------------------------------------------------------------------------------------


def _composed(file: SourceFile) -> Iterator[Hit]:
    for _, transforms in composed(file):
        names = [one.method for one in transforms]
        if "Normalize" not in names:
            continue
        normalize = transforms[names.index("Normalize")]
        late = next((one for one in transforms if one.method in _TO_TENSOR), None)
        if normalize.name.startswith("albumentations."):
            told = normalize.argument(2, "max_pixel_value")
            if "ToFloat" in names[: names.index("Normalize")] and told is None:
                yield _twice_in_albumentations(file, normalize)
        elif late is not None and late.span.start > normalize.span.start:
            message = f"`Normalize` stands before `{late.method}`, which makes the tensor that it needs"
            edits = (file.edit(normalize.span, late.code), file.edit(late.span, normalize.code))
            reason = "`Normalize` refuses pictures, so no working program depends on this order"
            yield Hit(message, normalize.span, Fix(f"Put `{late.code}` first.", FixSafety.SAFE, reason, edits=edits))
        elif late is not None:
            yield from _scale_within(file, transforms, normalize)


def _scale_within(file: SourceFile, transforms: tuple[CallSite, ...], normalize: CallSite) -> Iterator[Hit]:
    pixels: Pixels | None = Pixels()
    for one in transforms[: transforms.index(normalize)]:
        pixels = transformed(pixels, one) if pixels is not None else None
    wanted = wanted_scale(normalize)
    if pixels is None or wanted is None:
        return
    unscaled = [one for one in transforms if one.method == "ToDtype" and one.argument(1, "scale") is None]
    if _about(pixels.top, 255.0) and wanted == 1.0 and unscaled:
        to = unscaled[0]
        edit = file.edit(_behind(to.arguments[-1].span), ", scale=True")
        message = f"`{to.code}` leaves 0 to 255, and the constants of `Normalize` are for 0 to 1"
        yield Hit(message, to.span, Fix("Add `scale=True`.", FixSafety.UNSAFE, _RETRAIN, edits=(edit,)))
    elif _about(pixels.top, 1.0) and wanted == 255.0:
        yield _constants_too_large(file, normalize, f"`{transforms[0].method}`")


def _constants_too_large(file: SourceFile, normalize: CallSite, scaled: str) -> Hit:
    message = f"the image is from 0 to 1 already, and the mean of `{normalize.method}` is for 0 to 255"
    edits = []
    for argument in normalize.arguments:
        values = argument.value if isinstance(argument.value, tuple) else ()
        if len(values) in (1, 3) and all(isinstance(value, (int, float)) for value in values):
            edits.append(file.edit(argument.span, str([round(value / 255.0, 4) for value in values])))
    text = f"Divide mean and deviation by 255: after {scaled} values end at 1."
    return Hit(message, normalize.span, Fix(text, FixSafety.UNSAFE, _RETRAIN, edits=tuple(edits)))


def _twice_in_albumentations(file: SourceFile, normalize: CallSite) -> Hit:
    message = "`albumentations.Normalize` divides by 255 itself, and the image is from 0 to 1 already"
    whole = f"{normalize.code.rstrip()[:-1].rstrip(', ')}{', ' if normalize.arguments else ''}max_pixel_value=1.0)"
    edit = file.edit(normalize.span, whole)
    fix = Fix("Add `max_pixel_value=1.0`, or leave the division out.", FixSafety.UNSAFE, _RETRAIN, edits=(edit,))
    return Hit(message, normalize.span, fix)


def _behind(span: Span) -> Span:
    return Span(span.end_line, span.end_column, span.end_line, span.end_column)


# -- along the way of an image ---------------------------------------------------------------------------------------


def _scales(file: SourceFile) -> Iterator[Hit]:
    if not any(_READ.search(part.text) for part in parts_of(file)):
        return
    flow = Flow(file)
    inside = {call.span: transforms for call, transforms in composed(file)}
    for call in file.calls:
        made = call.receiver_origin.call if call.receiver_origin is not None else None
        image = call.argument(99, "image") or call.argument(99, "images") or call.argument(0, "tensor")
        if image is None:
            continue
        if call.method == "forward" and made is not None and made.method == "Compose":
            yield from _into_compose(file, flow, call, image, inside.get(made.span, ()))
        elif call.name.startswith("torchvision.transforms.") and call.method in ("normalize", "forward"):
            normalize = call if call.method == "normalize" else made
            if normalize is not None and normalize.method in ("normalize", "Normalize"):
                for trail, pixels in _ways(flow, image, call):
                    yield from _judged(file, call, image, trail, pixels, wanted_scale(normalize))
        elif call.receiver_origin is not None and network_of(call, file) is not None:
            for trail, pixels in _ways(flow, image, call):
                yield from _judged(file, call, image, trail, pixels, None)
    for item in file.assignments:
        if re.search(r"-\s*(?:[\w.]*mean|\[|np\.array)", item.code, re.IGNORECASE):
            yield from _subtracted(file, flow, item)


def _ways(flow: Flow, value: Argument | Assignment, call: CallSite | None) -> Iterator[tuple[Trail, Pixels]]:
    for trail in flow.trails(value, call, reads_bytes):
        if trail.start.call is not None and reads_bytes(trail.start.call):
            pixels = pixels_after(trail)
            if pixels is not None:
                yield trail, pixels


def _into_compose(
    file: SourceFile, flow: Flow, call: CallSite, image: Argument, transforms: tuple[CallSite, ...]
) -> Iterator[Hit]:
    names = [one.method for one in transforms]
    if "Normalize" not in names:
        return
    normalize = transforms[names.index("Normalize")]
    for trail, given in _ways(flow, image, call):
        if normalize.name.startswith("albumentations."):
            largest = normalize.argument(2, "max_pixel_value")
            if _about(given.top, 1.0) and largest is None and given.divided:
                yield _twice_in_albumentations(file, normalize)
            continue
        pixels: Pixels | None = given
        for one in transforms[: transforms.index(normalize)]:
            pixels = transformed(pixels, one) if pixels is not None else None
        if pixels is not None and not (given.whole and _about(given.top, 255.0)):
            yield from _judged(file, call, image, trail, pixels, wanted_scale(normalize))


def _judged(
    file: SourceFile, call: CallSite, image: Argument, trail: Trail, pixels: Pixels, wanted: float | None
) -> Iterator[Hit]:
    read = Evidence(f"read here: {' '.join(trail.start.code.split())[:100]}")
    if _about(pixels.top, 1 / 255.0):
        step = pixels.divided[-1] if pixels.divided else None
        span = step.span if step is not None and step.path == file.path else image.span
        found = re.search(r"\s{0,9}/\s{0,9}255(?:\.0?)?$", step.code) if step is not None else None
        own = found is not None and step is not None and step.path == file.path
        edits = (file.edit(span, step.code[: found.start()]),) if own and step is not None and found is not None else ()
        message = "the image is divided by 255 twice: its values end at 0.004"
        fix = Fix("Leave one division out.", FixSafety.UNSAFE if edits else FixSafety.MANUAL, _RETRAIN, edits=edits)
        yield Hit(message, span, fix, (read,))
    elif _about(pixels.top, 255.0) and wanted == 1.0:
        message = f"`{image.code}` is from 0 to 255, and the constants are for 0 to 1"
        simple = image.code.isidentifier()
        edits = (file.edit(image.span, f"{image.code} / 255"),) if simple else ()
        text = "Divide by 255 first; `ToTensor` does it only for bytes, not for floating point numbers."
        fix = Fix(text, FixSafety.UNSAFE if edits else FixSafety.MANUAL, _RETRAIN if edits else "", edits=edits)
        yield Hit(message, image.span, fix, (read,))
    elif _about(pixels.top, 1.0) and wanted == 255.0 and call.method == "normalize":
        yield _constants_too_large(file, call, "the division")


def _subtracted(file: SourceFile, flow: Flow, item: Assignment) -> Iterator[Hit]:
    """`(image - mean) / std` written out."""
    for trail in flow.trails(item, None, reads_bytes):
        minus = next(
            (n for n, step in enumerate(trail.steps) if step.name in ("-", "-=") and step.path == file.path), None
        )
        if minus is None or trail.start.call is None or not reads_bytes(trail.start.call):
            continue
        pixels = pixels_after(Trail(trail.start, trail.steps[:minus]))
        mean = _subtrahend(file, trail.steps[minus].code)
        if pixels is None or mean is None:
            continue
        low, high = _about(pixels.top, 255.0) and mean[1] == 1.0, _about(pixels.top, 1.0) and mean[1] == 255.0
        if low or high:
            given, meant = ("0 to 255", "0 to 1") if low else ("0 to 1", "0 to 255")
            message = f"the image is from {given}, and the mean that is subtracted is for {meant}"
            text = (
                "Divide the image by 255 first."
                if low
                else "Divide mean and deviation by 255, or leave the division out."
            )
            yield Hit(message, trail.steps[minus].span, Fix(text))
            return


def _subtrahend(file: SourceFile, code: str) -> tuple[str, float] | None:
    """Whose mean is subtracted in an expression, and its scale."""
    right = code.partition("-")[2] if not code.startswith("-") else code[1:]
    name = re.match(r"=?\s*([A-Za-z_][\w.]*)\s*(?:$|[)\[/])", right)
    texts = [right] if name is None else [one.code for one in file.assignments if one.target == name[1]]
    for text in texts:
        found = kind_of_constants([float(number) for number in _FLOAT.findall(text)[:3]])
        if found is not None and found[0] != "half":
            return found
    return None


# -- constants and networks --------------------------------------------------------------------------------------------


def _constants(file: SourceFile) -> Iterator[Hit]:
    stated = list(normalisations(file))
    if not stated or len({one.kind for one in stated}) > 1 or _OWN_TRANSFORM.search(file.text):
        return
    network = only_kind(file)
    if network is None or network.kind == stated[0].kind or (network.kind == "inside" and network.path != file.path):
        return
    for one in stated:
        yield _inside(one, network) if network.kind == "inside" else _of_another(file, one, network)


def _inside(one: Normalisation, network: Backbone) -> Hit:
    message = f"`{network.name}` normalises its images itself: with this they are normalised twice"
    fix = Fix("Give the detector images from 0 to 1, without `Normalize`.")
    return Hit(message, one.call.span, fix, (network.evidence,), Level.WARNING)


def _of_another(file: SourceFile, one: Normalisation, network: Backbone) -> Hit:
    mean, std = CONSTANTS[network.kind]
    message = (
        f"`{network.name}` was trained with {_FAMILIES[network.kind]} mean and deviation, "
        f"these are {_FAMILIES[one.kind].rstrip(',')}"
    )
    edits = [file.edit(one.mean.span, _scaled(mean, one.scale))]
    if one.std is not None:
        edits.append(file.edit(one.std.span, _scaled(std, one.scale)))
    fix = Fix(f"Write mean {list(mean)} and std {list(std)}.", FixSafety.UNSAFE, _RETRAIN, edits=tuple(edits))
    return Hit(message, one.mean.span, fix, (network.evidence,), Level.WARNING)


def _scaled(values: tuple[float, ...], scale: float) -> str:
    return str([round(value * scale, 8 if scale == 1.0 else 3) for value in values])


def _perceptual(file: SourceFile) -> Iterator[Hit]:
    """VGG's features as a loss, and nothing in sight that normalises."""
    parts = parts_of(file)
    if not any(network.name.startswith("vgg") for network in backbones(file)) or any("0.485" in p.text for p in parts):
        return
    for network in backbones(file):
        block = next((one for one in reversed(file.classes) if one.span.contains(network.span)), None)
        if block is None or not network.name.startswith("vgg"):
            continue
        forward = next((one for one in file.functions if one.name == f"{block.name}.forward"), None)
        text = "\n".join(file.text.split("\n")[block.span.start_line - 1 : block.span.end_line])
        compared = forward is not None and len(forward.parameters) >= 3
        if _NORMALISES.search(text) or not (compared or _PERCEPTUAL.search(block.name)) or ".features" not in text:
            continue
        signed = any(re.search(r"Tanh\(|tanh\(|\[?0\.5,? *(?:0\.5)?", part.text) for part in parts)
        first = "bring [-1, 1] to [0, 1] with `(x + 1) / 2`, then " if signed else ""
        fix = Fix(f"In `forward`, {first}subtract ImageNet's mean and divide by its deviation, kept as buffers.")
        message = f"`{network.name}` compares images without ImageNet's mean and deviation, which it was trained with"
        yield Hit(message, network.span, fix, level=Level.WARNING)


# -- settings ---------------------------------------------------------------------------------------------------------


def _settings(file: SourceFile) -> Iterator[Hit]:
    """A mean in YAML beside the name of a network that was trained with another one."""
    by_key = {setting.key: setting for setting in file.settings}
    named = [
        (kind, setting)
        for setting in file.settings
        if isinstance(setting.value, str) and _MODEL_KEYS.search(setting.key) and (kind := kind_of_name(setting.value))
    ]
    if len({kind for kind, _ in named}) != 1:
        return
    kind, network = named[0]
    for setting in file.settings:
        std = by_key.get(re.sub(r"mean$", "std", setting.key))
        found = (
            kind_of_constants(setting.value, std.value) if std is not None and _MEAN_KEYS.search(setting.key) else None
        )
        if found is None or std is None or found[0] == kind:
            continue
        message = (
            f"{setting.key} is {_FAMILIES[found[0]].rstrip(',')}, and {network.key}, {network.value}, was trained with "
            f"{_FAMILIES[kind].rstrip(',')} mean and deviation"
        )
        edits = (*_items(file, by_key, setting, CONSTANTS[kind][0]), *_items(file, by_key, std, CONSTANTS[kind][1]))
        text = f"Write mean {list(CONSTANTS[kind][0])} and std {list(CONSTANTS[kind][1])}."
        safety = FixSafety.UNSAFE if found[1] == 1.0 else FixSafety.MANUAL
        fix = Fix(text, safety, _RETRAIN, edits=edits if found[1] == 1.0 else ())
        yield Hit(message, setting.span, fix, level=Level.WARNING)


def _items(file: SourceFile, by_key: dict[str, Setting], setting: Setting, values: tuple[float, ...]) -> list[Edit]:
    items = [by_key.get(f"{setting.key}.{position}") for position in range(3)]
    return [file.edit(item.span, str(value)) for item, value in zip(items, values, strict=True) if item is not None]


RULE = Rule(
    slug="wrong-normalisation",
    family="data",
    title="Images are not normalised as the network expects",
    level=Level.ERROR,
    log=absent("wrong constants raise nothing and print nothing"),
    source=SourceFacet(("ormalize", "mean", "vgg", "VGG", *NETWORK_WORDS), _examine),
    before=BeforeFacet(Cost.SECONDS, other_constants),
    during=absent("wrong constants cost accuracy, which no single step shows"),
    module=__name__,
)
