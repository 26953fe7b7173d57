"""A layer is given another number of channels than it was made for.

What happens
------------
The forward pass stops with `Given groups=1, weight of size [64, 3, 7, 7], expected input[8, 1, 224, 224] to have 3
channels, but got 1 channels instead`. A batch norm says `running_mean should contain 1 elements not 3`, a
normalisation by mean and standard deviation `output with shape [1, 28, 28] doesn't match the broadcast shape [3,
28, 28]` or `The size of tensor a (4) must match the size of tensor b (3) at non-singleton dimension 0`.

Why
---
Grey images have one channel, RGB three, RGBA four, and decoders hand on what the file holds: one PNG with an alpha
channel or one grey scan among colour photographs is enough. Or the image was never turned from (height, width,
channels) into (channels, height, width), and its height stands where the channels belong. Inside a network the
layer's `in_channels` and the `out_channels` of what comes before it were changed apart from each other.

How to confirm
--------------
Print the shape that the message names, `x.shape`, in front of the layer, and `Image.open(path).mode` of the file:
`L` is grey, `LA` and `RGBA` carry alpha, `P` is a palette.

Fix
---
Images: `Image.open(path).convert("RGB")`, or build the model for the data (`in_chans=1` in timm, `in_channels=1` in
segmentation_models.pytorch). Channels last: `torch.from_numpy(image).permute(2, 0, 1)`. Layers: give `in_channels`
the number that arrives.

When it is something else
-------------------------
A feature map whose channels stand on another axis was permuted: `layout-scrambled`. Sizes that differ in height or
width are `spatial-mismatch`, features of a linear layer `linear-shape`. A checkpoint whose first convolution has
another number of channels fails while it is loaded, not in the forward pass: `state-dict-mismatch`.

Sources
-------
- `torch.nn.Conv2d`, the shape of its input: https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html
- timm, models for other numbers of channels: https://huggingface.co/docs/timm/models
- Pillow, modes of images: https://pillow.readthedocs.io/en/stable/handbook/concepts.html#modes
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.layers import width_breaks
from snellen.core.code.sizes import fed_shapes
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, channel_counts, find_message, numbers
from snellen.core.passes import before_by_passing
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]

_SHAPE = r"\[(?P<shape>\d[\dx, ]{0,80})\]"
_LAYER = re.compile(
    rf"(?:weight(?: of size )? ?\[(?P<weight>[\d, ]+)\],? ?(?:so )?)?expected input ?{_SHAPE} to have "
    r"(?P<wanted>\d{1,9}) channels,? but got (?P<got>\d{1,9}) channels"
)
_OLD_LAYER = re.compile(
    r"need input(?: of dimension \d+ and input)?\.size\[1\] == (?P<wanted>\d{1,9}) but got (?:input to be of shape: "
    r"\[\d+ x )?(?P<got>\d{1,9})",
    re.IGNORECASE,
)
_NORM = re.compile(
    r"(?:running_mean|running_var|weight|bias) should contain (?P<got>\d{1,9}) elements not (?P<wanted>\d{1,9})"
    r"|size at dim=1 to match num_features \((?P<wanted2>\d{1,9})\), but got: (?P<got2>\d{1,9})"
    r"|got weight of shape \[(?P<wanted3>\d{1,9})\] and input of shape \[\d+, (?P<got3>\d{1,9})"
    r"|parameter numbers = (?P<wanted4>\d{1,9}) and channel size = (?P<got4>\d{1,9})"
)
_LAST_AXIS = re.compile(
    r"normalized_shape=\[(?P<wanted>\d{1,9})\], expected input with shape \[\*, \d+\], "
    r"but got input of size ?\[(?P<shape>[\d, ]+)\]"
)
_STATED = re.compile(
    r"expected (?:an? |input (?:with|to have) |images? (?:with|to have) )?(?P<wanted>\d{1,9})[- ](?:input |image )?"
    r"channels?(?: images?)?,? (?:but )?(?:got|found) (?P<got>\d{1,9})"
    r"|channel dimension of the pixel values match with the one set in the configuration"
    r"(?:\. Expected (?P<wanted2>\d{1,9}) but got (?P<got2>\d{1,9}))?"
    r"|permitted channel values are [\[(]?(?P<wanted3>\d)[\d, ]*[\])]?,? but found (?P<got3>\d{1,9})"
    r"|input number of channels \((?P<got5>\d{1,9})\) is not equal to expected number of channels "
    r"\(?(?P<wanted5>\d{1,9})"
    r"|mean must have (?P<got4>\d{1,9}) elements if it is an iterable, got (?P<wanted4>\d{1,9})",
    re.IGNORECASE,
)
_COLOUR = re.compile(
    r"(?:invalid number of channels in input image|\(scn == 3 \|\| scn == 4\))"
    r"(?:[^\0]{0,200}?'scn' is (?P<got>\d{1,3}))?",
    re.IGNORECASE,
)
_GREY = re.compile(
    r"unable to infer channel dimension format|unsupported number of image dimensions: (?P<rank>2)\b", re.IGNORECASE
)
_NORMALISED = re.compile(
    r"output with shape \[(?P<given>[\d, ]+)\] doesn't match the broadcast shape \[(?P<target>[\d, ]+)\]"
    r"|could not be broadcast together with shapes \((?P<first>[\d, ]+)\) \((?P<second>[\d, ]+)\)"
    r"|could not broadcast input array from shape \((?P<source>[\d, ]+)\) into shape \((?P<room>[\d, ]+)\)"
)
_SIZES = re.compile(
    r"size of tensor a \((?P<got>\d)\) must match the size of tensor b \((?P<wanted>\d)\) at non-singleton dimension "
    r"(?P<axis>[01]|-3)\b"
)
_NORMALISING = re.compile(r"normali[sz]e|\bmean\b|\bstd\b|pixel_mean", re.IGNORECASE)
_PERMUTED = re.compile(
    r"(?:get_intermediate_layers|forward_intermediates|feature_maps)[^\n]{0,200}|permute\(0, ?3, ?1, ?2\)"
)
_FEWEST_FEATURES = 16
"""From this many channels on it is a feature map, whose layout is a rule of its own."""


def _examine_log(log: Log) -> LogMatch | None:
    layer = find_message(log, _LAYER)
    if layer is not None:
        return _of_layer(layer)
    for pattern, score in ((_OLD_LAYER, 0.9), (_NORM, 0.93), (_STATED, 0.93)):
        told = find_message(log, pattern)
        if told is not None:
            wanted, got = _pair(told)
            if (wanted or 0) >= _FEWEST_FEATURES and _PERMUTED.search(told.code):
                # A permuted feature map, without its shape: layout-scrambled.
                return None
            fix = Fix(f"Make the norm for {got} channels, or what comes before it give {wanted}.")
            return LogMatch(
                score, told.facts, _cause(wanted, got, ()), fix if pattern is _NORM else _fix(wanted, got, ())
            )
    return _of_last_axis(log) or _of_normalising(log) or _of_image(log)


def _pair(told: Message) -> tuple[int | None, int | None]:
    """The numbers of channels that are wanted and that came, from whichever alternative matched."""
    found = {
        name.rstrip("2345"): int(text) for name, text in told.match.groupdict().items() if text and name != "shape"
    }
    return found.get("wanted"), found.get("got")


def _of_layer(told: Message) -> LogMatch | None:
    shape = numbers(told.match["shape"])
    wanted, got = int(told.match["wanted"]), int(told.match["got"])
    if len(shape) == 4 and wanted >= _FEWEST_FEATURES and shape[2:].count(wanted) == 1:
        # The axis of the channels is evident: layout-scrambled.
        return None
    return LogMatch(0.95, told.facts, _cause(wanted, got, shape), _fix(wanted, got, shape, first=_is_first(told)))


def _is_first(told: Message) -> bool:
    """Whether the layer reads images: few channels in, as its weight says."""
    weight = numbers(told.match["weight"] or "")
    return len(weight) > 2 and weight[1] <= 4


def _last(wanted: int | None, got: int | None, shape: tuple[int, ...]) -> bool:
    """Whether an image was given with its channels on the last axis."""
    if wanted is None or got is None or got <= 4 or wanted > 4 or len(shape) < 3:
        return False
    return shape[-1] <= 4 or got in shape[2:]


def _cause(wanted: int | None, got: int | None, shape: tuple[int, ...]) -> str:
    if wanted is None or got is None:
        return "The image has another number of channels than the model was made for."
    kinds = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}
    seen = f" of shape {shape}" if shape else ""
    if _last(wanted, got, shape):
        return (
            f"The layer takes {wanted} channels on axis 1, and the input{seen} has {got} there: that is a side of the "
            "image, whose channels were left on the last axis."
        )
    if wanted <= 4 and got in kinds and wanted in kinds:
        return f"The layer takes {wanted} channels ({kinds[wanted]}), and the input{seen} has {got} ({kinds[got]})."
    return f"The layer takes {wanted} channels, and the input{seen} has {got}."


def _fix(wanted: int | None, got: int | None, shape: tuple[int, ...], *, first: bool = True) -> Fix:
    if wanted is None or got is None:
        return Fix('Convert every image as it is opened: `Image.open(path).convert("RGB")`.')
    if _last(wanted, got, shape):
        return Fix("Bring the channels to the front: `x.permute(0, 3, 1, 2)`, for a single image `x.permute(2, 0, 1)`.")
    if wanted == 3 and got in (1, 2, 4):
        instead = {1: "`x.repeat(1, 3, 1, 1)`", 2: "`x[:, :1].repeat(1, 3, 1, 1)`", 4: "`x[:, :3]`"}[got]
        return Fix(
            f'Open images with `Image.open(path).convert("RGB")` (tensors: {instead}), or build the model for them: '
            f"`in_channels={got}` (`in_chans={got}` in timm)."
        )
    if wanted == 1 and got in (3, 4):
        return Fix(
            f'Open images with `Image.open(path).convert("L")`, or build the first layer with `in_channels={got}` '
            f"(`in_chans={got}` in timm)."
        )
    if first and wanted == 3 and got % 3 == 0 and 4 < got <= 48:
        return Fix(
            f"{got} channels are {got // wanted} images of {wanted}: give the model one at a time, or build it with "
            f"`in_channels={got}`."
        )
    return Fix(f"Give that layer `in_channels={got}`, or make what comes before it give {wanted} channels.")


def _of_last_axis(log: Log) -> LogMatch | None:
    told = find_message(log, _LAST_AXIS)
    if told is None:
        return None
    wanted, shape = int(told.match["wanted"]), numbers(told.match["shape"])
    cause = (
        f"The layer norm takes {wanted} channels on the last axis; the input of shape {shape} has {shape[-1]} there."
    )
    if wanted in shape[:-1] and len(shape) == 4:
        fix = Fix(f"Its channels stand on axis {shape.index(wanted)}: permute to (B, H, W, C) around the layer norm.")
    else:
        fix = Fix(f"Make the layer norm for `normalized_shape={shape[-1]}`, or what comes before it give {wanted}.")
    return LogMatch(0.7, told.facts, cause, fix)


def _of_normalising(log: Log) -> LogMatch | None:
    """Images of another number of channels than the mean that is taken from them."""
    told = find_message(log, _NORMALISED)
    if told is not None:
        given = numbers(told.match["given"] or told.match["first"] or told.match["source"] or "")
        target = numbers(told.match["target"] or told.match["second"] or told.match["room"] or "")
        counts = _channels_of(given, target)
        if counts is not None:
            return LogMatch(0.92, told.facts, _cause(counts[1], counts[0], given), _fix(counts[1], counts[0], ()))
    told = find_message(log, _SIZES)
    if told is None:
        return None
    got, wanted = int(told.match["got"]), int(told.match["wanted"])
    if not channel_counts(got, wanted):
        return None
    normalising = _NORMALISING.search(told.code) is not None
    if wanted != 3:
        got, wanted = wanted, got
    score = 0.95 if normalising else 0.8 if told.match["axis"] == "1" else 0.6
    return LogMatch(score, told.facts, _cause(wanted, got, ()), _fix(wanted, got, ()))


def _channels_of(given: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, int] | None:
    """Channels that came and that were wanted, from two shapes that differ in nothing else."""
    if len(given) == len(target) and len(given) in (3, 4):
        differing = [(first, second) for first, second in zip(given, target, strict=True) if first != second]
        return differing[0] if len(differing) == 1 and channel_counts(*differing[0]) else None
    if len(target) == 1 and len(given) == 3 and channel_counts(given[-1], target[0]):
        return given[-1], target[0]
    if len(given) == 2 and (
        target in ((3,), (1, 1, 3)) or (len(target) == 3 and target[:2] == given and target[2] == 3)
    ):
        return 1, 3
    return None


def _of_image(log: Log) -> LogMatch | None:
    """An image library that was given grey where it takes colour."""
    told = find_message(log, _COLOUR)
    if told is not None:
        got = int(told.match["got"]) if told.match["got"] else None
        channels = "one channel" if got == 1 else f"{got} channels" if got else "another number of channels"
        cause = f"OpenCV was asked to convert the colours of an image with {channels}; it takes 3 or 4."
        fix = Fix("Read with `cv2.imread(path, cv2.IMREAD_COLOR)`, or convert grey images with `cv2.COLOR_GRAY2RGB`.")
        return LogMatch(0.85 if got else 0.6, told.facts, cause, fix)
    told = find_message(log, _GREY)
    if told is None:
        return None
    cause = "The image has no channel axis, or neither 1 nor 3 channels: a grey image or one with alpha."
    return LogMatch(
        0.75, told.facts, cause, Fix('Convert every image as it is opened: `Image.open(path).convert("RGB")`.')
    )


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for found in width_breaks(file):
        if found.what == "channels":
            message = f"made for {found.wanted} channels, given {found.given} by `{found.giver}`"
            fix = Fix(
                f"Write {found.given} for `{found.width.code}`, or make the layer before it give {found.wanted}.",
                FixSafety.UNSAFE,
                "which of the two widths is meant the text does not say",
                edits=(file.edit(found.width.span, str(found.given)),),
            )
            yield Hit(message, found.width.span, fix)
    for model, argument, shape in fed_shapes(file):
        if model.channels is None or len(shape) != 4 or shape[1] == model.channels:
            continue
        option = "in_chans" if model.call.name == "timm.create_model" else "in_channels"
        place = Location(file.path, model.call.span.start_line, model.call.span.start_column + 1)
        message = f"`{model.name}` takes {model.channels} channels, this tensor of shape {shape} has {shape[1]}"
        if shape[3] == model.channels:
            fix = Fix("The channels stand on the last axis: `permute(0, 3, 1, 2)`.")
        else:
            fix = Fix(f"Build the model with `{option}={shape[1]}`, or give it {model.channels} channels.")
        yield Hit(message, argument.span, fix, (Evidence(model.call.code[:120], place),))


RULE = Rule(
    slug="channel-mismatch",
    family="shapes",
    title="A layer is given another number of channels than it takes",
    level=Level.ERROR,
    log=LogFacet(
        (
            *("channels", "channel values", "channel size", "num_features", "should contain", "input.size[1]", "scn"),
            *(
                "got weight of shape",
                "normalized_shape",
                "broadcast",
                "size of tensor a",
                "mean must have",
                "number of channels",
            ),
            *("channel dimension", "number of image dimensions"),
        ),
        _examine_log,
    ),
    source=SourceFacet(("Conv", "create_model", "torchvision", "segmentation_models"), _examine_source),
    before=before_by_passing("channel-mismatch"),
    during=absent("the first forward pass fails, before any step is done"),
    module=__name__,
)
