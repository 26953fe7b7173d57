"""A side of the image is no multiple of what the model cuts it into.

What happens
------------
`Input image height 1920 is not a multiple of patch height 14` (DINOv2), `Input height (250) should be divisible by
patch size (16)` (timm), `Wrong input shape height=1213, width=1546. Expected image height and width divisible by 32`
(segmentation_models.pytorch), `height (28) must be divisible by window (8)` (MaxViT), `x size (7*7) are not even`
(Swin), `shape '[1, 9, 7, 9, 7, 96]' is invalid for input of size 393216` (a window partition), `pixel_unshuffle
expects height to be divisible by downscale_factor`.

Why
---
A Vision Transformer cuts the image into patches, a Swin transformer its patches into windows, an encoder halves the
sides some five times. What does not come out even has no place. Some models cut the rest off without a word, some
pad by themselves, the others refuse.

How to confirm
--------------
Divide both sides by the patch, the window times the patch, or 2 to the number of halvings: there is a remainder.

Fix
---
Pad or resize both sides to the next multiple, `math.ceil(side / multiple) * multiple`, and cut the padding off the
output. In timm `dynamic_img_size=True` takes any multiple of the patch, `dynamic_img_pad=True` pads by itself.

When it is something else
-------------------------
Images that are padded, but to a multiple that fits only one part of the model: `padding-not-lcm`. A model that was
built for one size and says `Input height (256) doesn't match model (224)` wants exactly that size, as do skip
connections that differ by a pixel: `spatial-mismatch`. Channels, heads or groups that do not divide are settings of
the model, not sizes of images.

Sources
-------
- timm, `PatchEmbed`: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/patch_embed.py
- DINOv2, `PatchEmbed.forward`: https://github.com/facebookresearch/dinov2/blob/main/dinov2/layers/patch_embed.py
- Liu et al., Swin Transformer, ICCV 2021: https://arxiv.org/abs/2103.14030
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from snellen.core.code.sizes import NamedModel, fed_shapes, fixed_sizes, named_model
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message, numbers
from snellen.core.passes import before_by_passing
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, Setting, SourceFile, Span

__all__ = ["RULE"]

_PATCH = re.compile(
    r"input (?:image )?(?:height|width|h|w) ?\(?(?P<side>\d{1,9})?\)? ?(?:is not|isn't|not|should be|must be) "
    r"(?:a multiple of|divisible by) (?:the )?patch(?:[ _]?(?:height|width|size))?:? ?\(?(?P<multiple>\d{1,9})",
    re.IGNORECASE,
)
_PAIR = re.compile(
    r"(?:wrong input shape height=(?P<height>\d{1,9}), width=(?P<width>\d{1,9})\. expected image height and width "
    r"divisible by|`height` and `width` have to be divisible by|h and w should be divisible by"
    r"|spatial dimensions? [^\n]{0,160}must be divisible by) ?(?P<multiple>\d{1,9}(?:\*\*\d{1,2})?)"
    r"(?:,? (?:but are|instead got) (?P<height2>\d{1,9})(?: \(h\))? and (?P<width2>\d{1,9}))?",
    re.IGNORECASE,
)
_SIDE = re.compile(
    r"(?P<what>image|img|input|height|width|resolution|side|spatial|feature map|patch grid|crop|tile|H ?(?:and|&) ?W)"
    r"\w*[^\n]{0,60}?"
    r"(?:divisible by|multiples? of|divided by|indivisible by) (?P<by>[^\n]{0,60})",
    re.IGNORECASE,
)
_NOT_SIZES = re.compile(
    r"head|channel|group|batch|world|embed|hidden|dim(?!ension)|expert|length|rank|device|gpu|frames|worker|vocab"
    r"|updating to|warning",
    re.IGNORECASE,
)
_WINDOW = re.compile(
    r"(?P<axis>height|width) \(?(?P<side>\d{1,9})\)? must be divisible by (?:window|grid) \(?(?P<multiple>\d{1,9})"
)
_UNEVEN = re.compile(r"x size \((?P<height>\d{1,9})\*(?P<width>\d{1,9})\) are not even")
_UNSHUFFLE = re.compile(
    r"divisible by downscale_factor, but input\.size\(-?\d\) ?= ?(?P<side>\d{1,9}) is not divisible by "
    r"(?P<multiple>\d{1,9})"
)
_CHUNKS = re.compile(r"can't divide axis of length (?P<side>\d{1,9}) in chunks of (?P<multiple>\d{1,9})")
_WINDOWS = re.compile(r"shape '\[(?P<shape>-?\d+(?:, -?\d+){4,7})\]' is invalid for input of size (?P<size>\d{1,9})")
_ASSERTED = re.compile(
    r"assert[^\n]{0,80}% ?(?:self\.)?(?:p|ps|patch\w*|window\w*|ws|win_size|stride|scale|size_divis\w*|\d+)\b"
    r"[^\n]{0,40}== ?0",
    re.IGNORECASE,
)
_FEATURES = re.compile(r"input feature has wrong size|flatten img_tokens has wrong size", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    for pattern, score in ((_PATCH, 0.88), (_PAIR, 0.95), (_WINDOW, 0.95), (_UNSHUFFLE, 0.93)):
        told = find_message(log, pattern)
        if told is not None:
            return _computed(told, score)
    return _of_windows(log) or _of_assertion(log) or _of_words(log)


def _multiple(text: str) -> int:
    base, _, power = text.partition("**")
    return int(base) ** min(int(power), 12) if power else int(base)


def _computed(told: Message, score: float) -> LogMatch:
    """A claim whose numbers the message holds."""
    found = told.match.groupdict()
    multiple = _multiple(found["multiple"])
    sides = [int(found[name]) for name in ("height", "width", "height2", "width2", "side") if found.get(name)]
    remains = [side for side in sides if side % multiple] or sides[:1]
    many = len(remains) > 1
    which = f"{'Sides' if many else 'A side'} of {' and '.join(map(str, remains))}" if remains else "A side"
    cause = f"{which} {'are no multiples' if many else 'is no multiple'} of {multiple}."
    return LogMatch(score, told.facts, cause, _pad(sides, multiple))


def _pad(sides: list[int], multiple: int) -> Fix:
    if multiple < 2:
        return Fix("Pad or resize both sides to a multiple that the model takes.")
    padded = [math.ceil(side / multiple) * multiple for side in sides]
    if len(sides) == 2:
        target = f"pad {sides[0]} x {sides[1]} to {padded[0]} x {padded[1]}"
    elif sides:
        below = sides[0] // multiple * multiple
        smaller = f" (or resize to {below})" if below else ""
        target = f"pad a side of {sides[0]} to {padded[0]}{smaller}"
    else:
        target = f"pad each side to `math.ceil(side / {multiple}) * {multiple}`"
    return Fix(f"Make both sides multiples of {multiple}: {target}, and cut the padding off the output.")


def _of_windows(log: Log) -> LogMatch | None:
    """A map that windows of a transformer do not tile."""
    told = find_message(log, _UNEVEN)
    if told is not None:
        height, width = int(told.match["height"]), int(told.match["width"])
        cause = f"The map of {height} x {width} patches cannot be merged two by two: a side is odd."
        fix = Fix(
            "Make the input a multiple of patch x 2^(stages - 1), and of patch x window x 2^(stages - 1) for unpadded "
            "windows: with patch 4, window 7 and four stages 224, 448 or 672 pixels."
        )
        return LogMatch(0.93, told.facts, cause, fix)
    told = find_message(log, _CHUNKS)
    if told is not None:
        side, multiple = int(told.match["side"]), int(told.match["multiple"])
        text = told.code + told.evidence.text
        patches = re.search(r"patch|\bp[12]\b|\bp[hw]\b", text) is not None
        cause = f"A {'side' if patches else 'map'} of {side} cannot be cut into pieces of {multiple}."
        score = 0.88 if patches or re.search(r"window|\bw_?[hw]\b|nw_", text) else 0.7
        return LogMatch(score, told.facts, cause, _pad([side], multiple) if patches else _window_fix(side, multiple))
    told = find_message(log, _WINDOWS)
    return _of_partition(told) if told is not None else None


def _window_fix(side: int, window: int) -> Fix:
    cells = math.ceil(side / window) * window
    return Fix(
        f"Bring the input to a size whose map has {cells} cells a side where it has {side} now ({cells / side:.3g} "
        f"times as large, in all stages a multiple of {window}), or build the model with a window that divides {side}."
    )


def _of_partition(told: Message) -> LogMatch | None:
    """`x.view(B, H // w, w, W // w, w, C)`: the shape itself says what the window is."""
    shape, size = numbers(told.match["shape"].replace("-1", "0")), int(told.match["size"])
    if len(shape) == 6 and shape[2] == shape[4] > 1:
        window, rows, columns = shape[2], shape[1], shape[3]
        rest = shape[0] * shape[5]
        side = math.isqrt(size // rest) if rest and size % rest == 0 else 0
        square = side * side * rest == size and rows == columns == side // window
        where = f"of {side} x {side} cells" if square else "here"
        cause = f"The map {where} is cut into {rows} x {columns} windows of {window}, and some cells are left over."
        fix = (
            _window_fix(side, window)
            if square
            else Fix(f"Make the sides of the map multiples of the window, {window}.")
        )
        return LogMatch(0.88, told.facts, cause, fix)
    if re.search(r"window|patchify|partition", told.code):
        cause = "The map does not divide into the windows or patches that it is cut into."
        fix = Fix(
            "Make the sides multiples of patch x window x 2^(stages - 1), or the size that the model was built for."
        )
        return LogMatch(0.75, told.facts, cause, fix)
    return None


def _of_assertion(log: Log) -> LogMatch | None:
    """A bare assertion: only the code of its line says what it asks."""
    told = find_message(log, _FEATURES)
    if told is not None:
        cause = "The number of patches is not the one that the transformer was built for."
        return LogMatch(
            0.65, told.facts, cause, Fix("Give it the image size that it was built for, or build it for yours.")
        )
    for error in log.exceptions:
        frame = error.frames[-1] if error.frames else None
        found = _ASSERTED.search(frame.code) if frame is not None and error.name == "AssertionError" else None
        if frame is not None and found is not None and not _NOT_SIZES.search(frame.code):
            cause = f"A side of the image does not divide: `{frame.code.strip()[:120]}`."
            fix = Fix(
                "Pad or resize both sides to a multiple of the number behind `%`, and cut the padding off the output."
            )
            return LogMatch(0.75, (error.evidence, frame.evidence), cause, fix)
    return None


def _of_words(log: Log) -> LogMatch | None:
    """Any other exception that asks for sizes that divide."""
    for error in log.exceptions:
        found = _SIDE.search(error.message)
        if found is None or _NOT_SIZES.search(found[0]):
            continue
        named = numbers(found["by"]) if "**" not in found["by"] else ()
        multiple = next((number for number in named if 2 <= number <= 1024), 0)
        given = (
            [number for number in numbers(error.message) if number > multiple and number % multiple] if multiple else []
        )
        frame = (error.user_frame.evidence,) if error.user_frame is not None else ()
        by = str(multiple) if multiple else found["by"].strip(" .'\"`")[:40]
        cause = f"The {found['what'].lower()} is no multiple of {by}, which the model needs."
        return LogMatch(0.85, (error.evidence, *frame), cause, _pad(given[:1], multiple))
    return None


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    yield from _settings(file)
    models = [model for model in map(named_model, file.calls) if model is not None]
    for model in models:
        yield from _built(file, model.call, model.patch)
    for call in file.calls:
        if call.name.endswith(("ViTConfig", "ViTMAEConfig", "DeiTConfig", "BeitConfig")):
            yield from _configured(call)
    for model, argument, shape in fed_shapes(file):
        if len(shape) == 4 and any(side % model.multiple for side in shape[2:]):
            yield _hit(file, model, argument.span, shape[2], shape[3])
    needing = [model for model in models if model.multiple > 1]
    if len(needing) == 1 and len(models) == 1 and not re.search(r"pad|interpolate|\bceil\b", file.text, re.IGNORECASE):
        for size in fixed_sizes(file):
            if size.height % needing[0].multiple or size.width % needing[0].multiple:
                yield _hit(file, needing[0], size.span, size.height, size.width)


def _settings(file: SourceFile) -> Iterator[Hit]:
    """A size and a patch side by side in a YAML file."""
    sections: dict[str, dict[str, Setting]] = {}
    for setting in file.settings:
        section, _, name = setting.key.rpartition(".")
        sections.setdefault(section, {})[name] = setting
    for names in sections.values():
        size = next((names[name] for name in ("img_size", "image_size", "input_size") if name in names), None)
        patch = names.get("patch_size")
        if size is None or patch is None or not isinstance(size.value, int) or not isinstance(patch.value, int):
            continue
        if patch.value > 1 and size.value > patch.value and size.value % patch.value:
            fitting = max(1, round(size.value / patch.value)) * patch.value
            fix = Fix(
                f"Write `{fitting}`.",
                FixSafety.UNSAFE,
                "the images have to be brought to the new size as well",
                edits=(file.edit(size.span, str(fitting)),),
            )
            yield Hit(f"`{size.key}: {size.code}` is no multiple of the patch, {patch.value}", size.span, fix)


def _hit(file: SourceFile, model: NamedModel, span: Span, height: int, width: int) -> Hit:
    multiple = model.multiple
    up = [math.ceil(side / multiple) * multiple for side in (height, width)]
    down = [side // multiple * multiple for side in (height, width)]
    message = f"{height} x {width} pixels for `{model.name}`, whose sides must be multiples of {multiple}"
    smaller = f" or {down[0]} x {down[1]}" if all(down) else ""
    place = Location(file.path, model.call.span.start_line, model.call.span.start_column + 1)
    return Hit(message, span, Fix(f"Take {up[0]} x {up[1]}{smaller}."), (Evidence(model.call.code[:120], place),))


def _built(file: SourceFile, call: CallSite, patch: int | None) -> Iterator[Hit]:
    """`img_size=250` of a model with patches of 16: the rest of the image is never seen."""
    size = call.argument(99, "img_size") or call.argument(99, "image_size")
    sides = _sides(size)
    if size is None or patch is None or not any(side % patch for side in sides):
        return
    fitting = tuple(max(1, round(side / patch)) * patch for side in sides)
    text = str(fitting[0] if len(set(fitting)) == 1 else fitting)
    fix = Fix(
        f"Write `{text}`, and bring the images to that size.",
        FixSafety.UNSAFE,
        "the images have to be brought to the new size as well",
        edits=(file.edit(size.span, text),),
    )
    yield Hit(f"{size.code} is no multiple of the patch, {patch}: the rest of the image is cut off", size.span, fix)


def _configured(call: CallSite) -> Iterator[Hit]:
    size, patch = call.argument(99, "image_size"), call.argument(99, "patch_size")
    sides, cell = _sides(size), _sides(patch)
    if size is not None and len(cell) == 1 and any(side % cell[0] for side in sides):
        fitting = max(1, round(sides[0] / cell[0])) * cell[0]
        yield Hit(f"{size.code} is no multiple of the patch, {cell[0]}", size.span, Fix(f"Write `{fitting}`."))


def _sides(size: Argument | None) -> tuple[int, ...]:
    values = size.value if size is not None else None
    listed = values if isinstance(values, tuple) else (values,)
    return tuple(side for side in listed if isinstance(side, int) and not isinstance(side, bool) and side > 0)


RULE = Rule(
    slug="patch-multiple",
    family="shapes",
    title="A side of the image is no multiple of the model's patch, window or stride",
    level=Level.ERROR,
    log=LogFacet(
        (
            *(
                "multiple of",
                "multiples of",
                "divisible",
                "divided by",
                "are not even",
                "can't divide axis",
                "is invalid for",
            ),
            *("% ", "%self", "wrong size"),
        ),
        _examine_log,
    ),
    source=SourceFacet(
        ("create_model", "torch.hub", "hub.load", "segmentation_models", "vit_", "Config", "patch_size"),
        _examine_source,
    ),
    before=before_by_passing("patch-multiple"),
    during=absent("the sizes are settled at the first forward pass, before any step"),
    module=__name__,
)
