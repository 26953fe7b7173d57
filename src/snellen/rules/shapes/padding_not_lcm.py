"""Images are padded to a multiple that fits one part of the model and not the other.

What happens
------------
The images are padded, and the backbone still refuses them: `Input image height 544 is not a multiple of patch
height 14`. Or the backbone takes them and the decoder's skip connections differ by one.

Why
---
A patch embedding needs sides that are multiples of its patch (14 in DINOv2), a decoder with five halvings needs
multiples of 32. 32 is not a multiple of 14: a side must be a multiple of both, of their least common multiple, 224.

How to confirm
--------------
`math.lcm(patch, stride)`; the padded side divided by it has a remainder.

Fix
---
Pad to the least common multiple of everything that the image passes through, and cut the padding off the output
again.

When it is something else
-------------------------
Images that are not padded or resized at all need any padding first: the error is the same, `patch-multiple`. A
model that interpolates its position embedding and its patches (`dynamic_img_pad` in timm) takes any size.

Sources
-------
- DINOv2, `PatchEmbed.forward` (the assertion):
  https://github.com/facebookresearch/dinov2/blob/main/dinov2/layers/patch_embed.py
- timm, `PatchEmbed`: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/patch_embed.py
- segmentation_models.pytorch, sides divisible by the output stride: https://smp.readthedocs.io/en/latest/
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from snellen.core.code.sizes import patch_of_name
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, Assignment, Hit, SourceFile, Span

__all__ = ["RULE"]


_REFUSED = re.compile(
    r"input (?:image )?(?:height|width) ?\(?(?P<side>\d{1,9})?\)? ?(?:is )?"
    r"(?:not a multiple of patch(?: (?:height|width|size))?|(?:should|must) be divisible by patch size)"
    r":? ?\(?(?P<patch>\d{1,9})"
    r"|wrong input shape height=(?P<side2>\d{1,9}), width=\d+\. expected image height and width divisible by "
    r"(?P<patch2>\d{1,9})",
    re.IGNORECASE,
)
_PADS = re.compile(r"\bpad\w*\b|ceil\(|-\s*\w+\s*%\s*\d+", re.IGNORECASE)
_MULTIPLE = re.compile(
    r"//\s*(\d+)\s*\)?\s*\*\s*\1|%\s*(\d+)|(?:multiple|divisor|divisible)\w*(?: of| by)?\W{0,3}(\d+)"
)


def _examine_log(log: Log) -> LogMatch | None:
    told = find_message(log, _REFUSED)
    # Without a trace of padding the images were simply never brought to a fitting size.
    padding = _padding(log, told) if told is not None else None
    if told is None or padding is None:
        return None
    patch = int(told.match["patch"] or told.match["patch2"])
    given = told.match["side"] or told.match["side2"]
    side = int(given) if given else None
    multiple = padding[1] or next((m for m in (32, 64, 16) if side and side % m == 0), None)
    if multiple is None or multiple % patch == 0:
        return None
    both = math.lcm(patch, multiple)
    size = f"{math.ceil(side / both) * both} pixels for a side of {side}" if side else f"a multiple of {both}"
    what = "backbone needs a multiple of its patch" if told.match["patch"] else "decoder needs a multiple of its stride"
    cause = f"The images are padded to a multiple of {multiple}, the {what}, {patch}."
    fix = Fix(f"Pad to a multiple of lcm({patch}, {multiple}) = {both}: {size}. Cut the padding off the output again.")
    return LogMatch(0.96 if padding[1] else 0.9, (told.evidence, padding[0]), cause, fix)


def _padding(log: Log, refused: Message) -> tuple[Evidence, int | None] | None:
    """What shows that the images were padded, and to a multiple of what."""
    frames = refused.error.frames if refused.error is not None else ()
    told: list[tuple[Evidence, str]] = [(frame.evidence, frame.code) for frame in frames]
    told += [(line.evidence, line.text) for line in log.lines if "pad" in line.text.lower()]
    for evidence, text in told:
        if _PADS.search(text) and not _REFUSED.search(text):
            number = _MULTIPLE.search(text)
            return evidence, int(next(part for part in number.groups() if part)) if number else None
    return None


_ROUNDED = re.compile(
    r"//\s*(?P<a>\w+)\s*\)?\s*\*\s*(?P=a)\b|-\s*[\w.\[\]-]{1,60}\)?\s*%\s*(?P<b>\w+)"
    r"|ceil\([^\n]{1,80}/\s*(?P<c>\w+)\s*\)(?:\.astype\(int\))?\s*\)?\s*\*\s*(?P=c)\b"
    r"|\b(?P<d>\w+)\s*\*\s*(?:int\()?(?:\w+\.)?ceil\([^\n]{1,80}/\s*(?P=d)\s*\)"
)
_SIDES = re.compile(r"(?:^|[^a-z])(?:h|w|ht|wt|height|width|size|side|pad\w*|shape)(?:[^a-z]|$)", re.IGNORECASE)
_DIVISORS = frozenset(
    {
        *("size_divisor", "pad_size_divisor", "size_divisibility", "size_divisible", "pad_height_divisor"),
        *("pad_width_divisor", "pad_to_multiple", "pad_multiple"),
    }
)


_BACKBONES = frozenset({"backbone", "encoder", "model", "model_name", "arch", "encoder_name", "name", "variant"})


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    pads = list(_paddings(file))
    if not pads or re.search(r"\blcm\b", file.text):
        return
    patches = _patches(file) or [patch for other in file.elsewhere for patch in _patches(other)]
    sizes = {size for size, _ in patches}
    if len(sizes) != 1:
        # Several backbones: which of them these images go to cannot be told.
        return
    patch, evidence = patches[0]
    for span, code, multiple in pads:
        if multiple % patch == 0:
            continue
        both = math.lcm(patch, multiple)
        message = (
            f"padded to a multiple of {multiple}, but the backbone's patch is {patch}: {multiple} is no multiple of it"
        )
        yield Hit(message, span, _advice(file, span, code, multiple, both), (evidence,))


def _advice(file: SourceFile, span: Span, code: str, multiple: int, both: int) -> Fix:
    text = f"Pad to a multiple of {both}, the least common multiple, and cut the padding off the output."
    changed = re.sub(rf"\b{multiple}\b", str(both), re.sub(rf"\b{multiple - 1}\b", str(both - 1), code))
    if changed == code:
        return Fix(text)
    reason = "larger images take more memory, and the output has to be cut to the old size"
    return Fix(text, FixSafety.UNSAFE, reason, edits=(file.edit(span, changed),))


def _paddings(file: SourceFile) -> Iterator[tuple[Span, str, int]]:
    """Places where sides of images are rounded up: span, text and the multiple."""
    constants = {a.target: a.value for a in file.assignments if isinstance(a.value, int)}
    for item in file.assignments:
        found = _ROUNDED.search(item.code)
        if found and _SIDES.search(f"{item.target} {item.code} {item.function}"):
            word = found["a"] or found["b"] or found["c"] or found["d"]
            multiple = int(word) if word.isdigit() else constants.get(word) or _default(file, item, word)
            if isinstance(multiple, int) and 8 <= multiple <= 512:
                yield item.span, item.code, multiple
    for setting in file.settings:
        if setting.key.rpartition(".")[2] in _DIVISORS and isinstance(setting.value, int) and 8 <= setting.value <= 512:
            yield setting.span, setting.code, setting.value
    for call in file.calls:
        for argument in call.arguments:
            divisor = argument.name in _DIVISORS or (argument.name == "k" and call.method.startswith("DivisiblePad"))
            if divisor and isinstance(argument.value, int) and 8 <= argument.value <= 512:
                yield argument.span, argument.code, argument.value


def _default(file: SourceFile, item: Assignment, word: str) -> int | None:
    """The multiple that a function rounds up to when its caller says nothing, and that no caller overrides."""
    block = file.function_around(item.span)
    stated = re.search(rf"\b{re.escape(word)}\b\s*(?::\s*int\s*)?=\s*(\d{{1,4}})\s*[,)]", block.code) if block else None
    if block is None or stated is None or word not in block.parameters:
        return None
    name, place = block.name.rpartition(".")[2], block.parameters.index(word)
    own = [call for each in (file, *file.elsewhere) for call in each.calls if call.method == name]
    given = [call.argument(place - (block.parameters[0] == "self"), word) for call in own]
    others = {argument.value for argument in given if argument is not None}
    return int(stated[1]) if not others or others == {int(stated[1])} else None


def _patches(file: SourceFile) -> list[tuple[int, Evidence]]:
    """Patch sizes that the file states, by number or in the name of a backbone."""
    found: list[tuple[int, Evidence]] = []
    for call in file.calls:
        for argument in call.arguments:
            size = _patch_of(argument)
            if size is not None:
                place = Location(file.path, argument.span.start_line, argument.span.start_column + 1)
                found.append((size, Evidence(f"{argument.name or call.method}: {argument.code}", place)))
    for setting in file.settings:
        name = setting.key.rpartition(".")[2]
        stated = patch_of_name(setting.value) if isinstance(setting.value, str) and name in _BACKBONES else None
        stated = setting.value if name == "patch_size" and isinstance(setting.value, int) else stated
        if stated is not None:
            place = Location(file.path, setting.span.start_line, setting.span.start_column + 1)
            found.append((stated, Evidence(f"{setting.key}: {setting.code}", place)))
    for item in file.assignments:
        if item.target.rpartition(".")[2].lower() in ("patch_size", "patch") and isinstance(item.value, int):
            place = Location(file.path, item.span.start_line, item.span.start_column + 1)
            found.append((item.value, Evidence(f"{item.target} = {item.code}", place)))
    return found


def _patch_of(argument: Argument) -> int | None:
    if argument.name == "patch_size" and isinstance(argument.value, int):
        return argument.value
    return patch_of_name(argument.value) if isinstance(argument.value, str) else None


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    data = plan.settings.get("data")
    padded = data.get("pad_multiple", "auto") if isinstance(data, Mapping) else "auto"
    contracts = plan.fact("contracts")
    needed = {contract["part"]: int(contract["side_multiple"]) for contract in contracts}
    multiple = math.lcm(*needed.values())
    if not isinstance(padded, int) or isinstance(padded, bool) or padded < 1 or padded % multiple == 0:
        return
    parts = ", ".join(f"{part} needs multiples of {side}" for part, side in needed.items() if side > 1)
    yield Finding(
        "padding-not-lcm",
        Level.ERROR,
        f"data.pad_multiple is {padded}, but {parts}: the least common multiple is {multiple}",
        setting_place(plan, "data.pad_multiple"),
        fix=Fix(
            f"Write data.pad_multiple: {multiple}, or auto.",
            FixSafety.SAFE,
            "it is the least number that fits every part",
            settings=(("data.pad_multiple", multiple),),
        ),
    )


RULE = Rule(
    slug="padding-not-lcm",
    family="shapes",
    title="Padding fits one part of the model and not the other",
    level=Level.ERROR,
    log=LogFacet(("multiple of patch", "divisible by patch", "wrong input shape"), _examine_log),
    source=SourceFacet(("//", "%", "ceil", "divisor", "multiple", "patch", "vit", "dino"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the sizes are settled at the first forward pass, before any step"),
    module=__name__,
)
