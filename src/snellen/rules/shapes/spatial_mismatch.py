"""Two maps that are joined or compared differ in height or width.

What happens
------------
At a skip connection: `Sizes of tensors must match except in dimension 1. Expected size 61 but got size 60 for tensor
number 1 in the list`. At an addition or a loss: `The size of tensor a (65) must match the size of tensor b (64) at
non-singleton dimension 3`, `Target size (torch.Size([2, 1, 256, 256])) must be the same as input size
(torch.Size([2, 1, 254, 254]))`. At a model that takes one size only: `Input height (256) doesn't match model (224)`,
`Wrong image height! Expected 224 but got 256!`.

Why
---
Each halving rounds down, each doubling does not know that: 61 becomes 30, and 30 comes back as 60. A network with
five halvings therefore fits only sides that are multiples of 32. Unpadded convolutions take a border off each time.
A Vision Transformer adds one position embedding to each patch and has as many as the images it was built for. Masks
and images that are resized or cropped apart from each other end up in different sizes.

How to confirm
--------------
Print both shapes in front of the line: sizes that differ by one or two were rounded, sizes that differ by a factor
come from different stages, numbers of tokens (one more than a square) belong to different image sizes.

Fix
---
Pad the input to a multiple of 2 to the number of halvings (32 for five) and cut the output back; or bring the
decoder's map to the skip's size, `F.interpolate(x, size=skip.shape[-2:])`. Transformers: resize the images to what
the model was built for, or build it for yours (`img_size=` in timm, `interpolate_pos_encoding=True` in
transformers).

When it is something else
-------------------------
Sizes of 1, 3 and 4 that do not fit are channels of images: `channel-mismatch`. Sizes that differ while a loader puts
a batch together are `collate-size-mismatch`. A model that names the multiple it wants: `patch-multiple`.

Sources
-------
- `torch.cat`: https://docs.pytorch.org/docs/stable/generated/torch.cat.html
- Broadcasting: https://docs.pytorch.org/docs/stable/notes/broadcasting.html
- Ronneberger et al., U-Net, MICCAI 2015: https://arxiv.org/abs/1505.04597
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from snellen.core.code.sizes import NamedModel, fed_shapes, fixed_sizes, named_model
from snellen.core.finding import Evidence, Fix, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, channel_counts, find_message, numbers
from snellen.core.passes import before_by_passing
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile, Span

__all__ = ["RULE"]

_CAT = re.compile(
    r"sizes of tensors must match except in dimension (?P<axis>\d)\b(?:\. (?:expected size (?P<a>\d{1,9}) but got "
    r"size (?P<b>\d{1,9})|got (?P<a2>\d{1,9}) and (?P<b2>\d{1,9})))?",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"size of tensor a \((?P<a>\d{1,9})\) must match the size of tensor b \((?P<b>\d{1,9})\) at non-singleton "
    r"dimension (?P<axis>-?\d)"
    r"|expanded size of the tensor \((?P<a2>\d{1,9})\) must match the existing size \((?P<b2>\d{1,9})\) at "
    r"non-singleton dimension (?P<axis2>-?\d)",
    re.IGNORECASE,
)
_SHAPE = r"(?:torch\.Size\(\[|\[|\()(?P<{}>\d[\dx, ]*)[\])]+"
_COMPARED = tuple(
    re.compile(text.format(_SHAPE.format("first"), _SHAPE.format("second")), re.IGNORECASE)
    for text in (
        r"target size \({}\) must be the same as input size \({}",
        r"target size \({}\) that is different to the input size \({}",
        r"size mismatch \(got input: {} ?, target: {}",
        r"spatial sizes don't match: target {}, input {}",
        r"expected to have the same shape, but got {} and {}",
        r"shape is not equal to `{{0,2}}target`{{0,2}} shape, {} != {}",
        r"shape of the mask {} at index \d does not match the shape of the indexed tensor {}",
        r"could not be broadcast together with shapes {} {}",
    )
)
_FIXED = re.compile(
    r"input (?:image )?(?:height|width|size) \((?P<given>\d{1,9})(?:\*\d+)?\) doesn't match model \((?P<wanted>\d{1,9})"
    r"|wrong image (?:height|width)! expected (?P<wanted2>\d{1,9}) but got (?P<given2>\d{1,9})",
    re.IGNORECASE,
)
_UNLIKE = re.compile(r"input images must have the same dimensions", re.IGNORECASE)
_FED = re.compile(r"[(\[]\s*\d{1,4}\s*,\s*[134]\s*,\s*(?P<height>\d{2,5})\s*,\s*(?P<width>\d{2,5})\s*[)\]]")
_COLLATED = re.compile(r"collate|default_convert|torch\.stack|_stack_dispatcher|pad_sequence")
_PROMPT = re.compile(r"prompt_encoder|_embed_points|_embed_boxes|point_embedding|sparse_embedding|mask_decoder")
_POSITION = re.compile(r"\bpos\w*emb\w*|position\w*|\bpe\b|pos_encod\w*", re.IGNORECASE)
_HALVINGS = 32
_CLASS_TOKENS = (1, 2, 5)
"""Tokens beside those of the patches: a class token, a second one for distillation, four registers."""


def _examine_log(log: Log) -> LogMatch | None:
    told = find_message(log, _FIXED)
    if told is not None:
        return _of_fixed_size(told)
    told = find_message(log, _CAT)
    if told is not None:
        return _of_joining(log, told)
    told = find_message(log, _PAIR)
    if told is not None:
        found = _of_pair(log, told)
        if found is not None:
            return found
    for pattern in _COMPARED:
        told = find_message(log, pattern)
        if told is not None:
            return _of_comparison(told)
    told = find_message(log, _UNLIKE)
    if told is not None:
        cause = "Two images that are compared pixel by pixel differ in size."
        return LogMatch(
            0.85, told.facts, cause, Fix("Resize or crop the prediction to the size of the reference first.")
        )
    return None


def _of_fixed_size(told: Message) -> LogMatch:
    given, wanted = (int(told.match[n] or told.match[f"{n}2"]) for n in ("given", "wanted"))
    cause = f"The model was built for images of {wanted} pixels a side and given {given}."
    fix = Fix(
        f"Resize to {wanted} x {wanted}, or build the model for yours: `img_size={given}` or `dynamic_img_size=True` "
        f"in timm, `image_size={given}` in torchvision, `interpolate_pos_encoding=True` in transformers."
    )
    return LogMatch(0.9, told.facts, cause, fix)


def _of_joining(log: Log, told: Message) -> LogMatch | None:
    if _COLLATED.search(told.code) or _PROMPT.search(told.code + _paths(told)):
        # Samples of a batch, or prompts of SAM: other rules know them.
        return None
    if told.match["axis"] == "0" and not re.search(r"\bcat\(|concat|hstack|vstack", told.code):
        return None
    first = told.match["a"] or told.match["a2"]
    second = told.match["b"] or told.match["b2"]
    if first is None or second is None:
        return LogMatch(0.85, told.facts, "Maps that are joined differ in height or width.", _pad(log))
    cause, fix = _rounded(log, int(first), int(second))
    return LogMatch(0.93, told.facts, cause, fix)


def _paths(told: Message) -> str:
    return " ".join(f"{frame.path} {frame.function}" for frame in told.error.frames) if told.error else ""


def _rounded(log: Log, first: int, second: int) -> tuple[str, Fix]:
    """Cause and fix for two sides of maps, from how they differ."""
    small, large = sorted((first, second))
    if large - small <= 2:
        cause = (
            f"One map has a side of {first}, the other of {second}: a side of the input was rounded on its way down "
            "and came back in another size."
        )
        return cause, _pad(log)
    if small and large % small == 0:
        factor = large // small
        cause = (
            f"One map is {factor} times as large as the other ({first} and {second}): they belong to different stages."
        )
        return cause, Fix(
            f"Join maps of the same stage, or bring one to the other's size: `F.interpolate(x, size=skip.shape[-2:])`. "
            f"If the model is built for one image size, check that yours is not {factor} times that."
        )
    cause = f"One map has a side of {first}, the other of {second}."
    return cause, Fix(
        "Bring one to the other's size, `F.interpolate(x, size=other.shape[-2:])`, or pad unpadded convolutions; "
        "images and masks have to be resized together."
    )


def _pad(log: Log) -> Fix:
    """Padding to a multiple of 2 to the number of halvings, in pixels where the log shows the size of the input."""
    target = ""
    for text in (
        *(frame.code for error in log.exceptions for frame in error.frames),
        *(line.text for line in log.lines),
    ):
        fed = _FED.search(text)
        if fed is not None:
            sides = (int(fed["height"]), int(fed["width"]))
            padded = tuple(math.ceil(side / _HALVINGS) * _HALVINGS for side in sides)
            if padded != sides:
                target = f", here {sides[0]} x {sides[1]} to {padded[0]} x {padded[1]},"
                break
    return Fix(
        f"Pad the input to a multiple of 2 to the number of halvings{target} (32 fits up to five) and cut the output "
        "back, or interpolate to the skip's size: `F.interpolate(x, size=skip.shape[-2:])`."
    )


def _tokens(first: int, second: int) -> tuple[int, int, int] | None:
    """Sides of two grids of patches that both numbers of tokens belong to, and how many tokens come on top."""
    for extra in _CLASS_TOKENS:
        sides = [math.isqrt(max(0, count - extra)) for count in (first, second)]
        if all(side > 1 and side * side == count - extra for side, count in zip(sides, (first, second), strict=True)):
            return sides[0], sides[1], extra
    return None


def _of_pair(log: Log, told: Message) -> LogMatch | None:
    first, second, axis = (int(told.match[n] or told.match[f"{n}2"]) for n in ("a", "b", "axis"))
    if _PROMPT.search(told.code + _paths(told)) or (channel_counts(first, second) and axis in (0, 1, -3)):
        return None
    grids = _tokens(first, second)
    if grids is None and _POSITION.search(told.code):
        sides = (math.isqrt(first), math.isqrt(second))
        grids = (*sides, 0) if (sides[0] ** 2, sides[1] ** 2) == (first, second) else None
    if grids is not None and axis in (1, -2):
        cause = (
            f"The images give {grids[0]} x {grids[0]} patches, the model has position embeddings for "
            f"{grids[1]} x {grids[1]} ({first} and {second} tokens)."
        )
        fix = Fix(
            f"Take images {grids[1] / grids[0]:.3g} times as large on a side, which this variant was built for, or "
            "build it for yours (`img_size=`), which interpolates the position embeddings of timm's checkpoints."
        )
        return LogMatch(0.9, told.facts, cause, fix)
    if axis >= 2 or axis in (-1, -2):
        cause, fix = _rounded(log, first, second)
        return LogMatch(0.88, told.facts, cause, fix)
    if axis == 0:
        cause = f"Along the first axis, usually the batch, one tensor has {first} entries and the other {second}."
        return LogMatch(
            0.5, told.facts, cause, Fix("Print both shapes; a last batch that is smaller needs `drop_last=True`.")
        )
    cause = (
        f"Axis 1 has {first} entries in one tensor and {second} in the other: channels, or a height without a batch."
    )
    fix = Fix(
        f"Print both shapes. Channels: bring one to the other's number with a 1 x 1 convolution ({first} to {second}). "
        "Sides: pad the input to a multiple of 32, or interpolate."
    )
    return LogMatch(0.65, told.facts, cause, fix)


def _of_comparison(told: Message) -> LogMatch | None:
    first, second = numbers(told.match["first"]), numbers(told.match["second"])
    if len(first) < 2 or len(second) < 2:
        return None
    last = 3 if first[-1] == second[-1] and first[-1] <= 4 and len(first) == len(second) == 3 else 2
    sides = (first[-last:][:2], second[-last:][:2])
    if sides[0] == sides[1] or min(*sides[0], *sides[1]) < 4:
        # Batch, channels or a missing axis: not the sides.
        return None
    cause = f"What is compared has {sides[0][0]} x {sides[0][1]} and {sides[1][0]} x {sides[1][1]} positions."
    fix = Fix(
        "Bring the output to the target's size, `F.interpolate(output, size=target.shape[-2:], mode='bilinear')`, or "
        "the mask to the output's with `mode='nearest'`; resize image and mask together."
    )
    return LogMatch(0.88, told.facts, cause, fix)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    models = [model for model in map(named_model, file.calls) if model is not None]
    for model, argument, shape in fed_shapes(file):
        if model.side is not None and len(shape) == 4 and shape[2:] != (model.side, model.side):
            yield _hit(file, model, argument.span, shape[2], shape[3])
    fixed = [model for model in models if model.side is not None]
    if len(models) == len(fixed) == 1 and not re.search(r"interpolate|img_size|\.resize\(|functional", file.text):
        for size in fixed_sizes(file):
            if (size.height, size.width) != (fixed[0].side, fixed[0].side):
                yield _hit(file, fixed[0], size.span, size.height, size.width)


def _hit(file: SourceFile, model: NamedModel, span: Span, height: int, width: int) -> Hit:
    message = f"{height} x {width} pixels for `{model.name}`, which takes {model.side} x {model.side} and nothing else"
    option = "img_size" if model.call.name == "timm.create_model" else "image_size"
    other = height if height == width else (height, width)
    fix = Fix(f"Bring the images to {model.side} x {model.side}, or build the model with `{option}={other}`.")
    place = Location(file.path, model.call.span.start_line, model.call.span.start_column + 1)
    return Hit(message, span, fix, (Evidence(model.call.code[:120], place),))


RULE = Rule(
    slug="spatial-mismatch",
    family="shapes",
    title="Maps that meet differ in height or width",
    level=Level.ERROR,
    log=LogFacet(
        (
            *("sizes of tensors must match", "size of tensor a", "expanded size of the tensor", "target size ("),
            *("got input:", "spatial sizes don't", "the same shape", "shape of the mask", "broadcast together"),
            *("doesn't match model", "wrong image", "same dimensions", "shape is not equal"),
        ),
        _examine_log,
    ),
    source=SourceFacet(("create_model", "vit_"), _examine_source),
    before=before_by_passing("spatial-mismatch"),
    during=absent("the first forward pass fails, before any step is done"),
    module=__name__,
)
