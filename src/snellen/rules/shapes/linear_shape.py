"""A linear layer is given another number of features than it takes.

What happens
------------
`RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x32768 and 2048x196)`; PyTorch before 1.8 says `size
mismatch, m1: [4 x 32768], m2: [2048 x 196]`, 1.8 `mat1 dim 1 must match mat2 dim 0`, a compiled model `a and b must
have same reduction dim, but got [4, 400] X [120, 84]`.

Why
---
The first number of the second pair is the layer's `in_features`, the second number of the first pair is what came.
A classifier behind a flattened map has channels times height times width features, so it fits one size of images
only. Or the map was not flattened, or the backbone was exchanged for one of another width, or a head was kept that
belongs to another checkpoint.

How to confirm
--------------
Print `x.shape` in front of the layer. Run one image of the size that the model was made for: if it passes, it is the
size of the images.

Fix
---
Give the layer what arrives, `nn.Linear(N, ...)` with N from the message; or make the number independent of the size of
images with `nn.AdaptiveAvgPool2d(1)` in front of `nn.Flatten()`. A missing flatten: `torch.flatten(x, 1)`. timm
backbones say their width, `model.num_features`.

When it is something else
-------------------------
`mat1 and mat2 must have the same dtype` is `dtype-mismatch`. A size mismatch while a checkpoint is loaded, `copying a
param with shape`, is `state-dict-mismatch`. `size mismatch (got input: ..., target: ...)` of a loss compares maps:
`spatial-mismatch`.

Sources
-------
- `torch.nn.Linear`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html
- `torch.nn.AdaptiveAvgPool2d`: https://docs.pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html
- `torch.nn.LazyLinear`, which reads its width off the first batch:
  https://docs.pytorch.org/docs/stable/generated/torch.nn.LazyLinear.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from snellen.core.code.layers import width_breaks
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.passes import before_by_passing
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]

_NUMBER = r"(?P<{}>\d{{1,9}})"
_SHAPES = re.compile(
    "|".join(
        text.format(*(_NUMBER.format(f"{name}{place}") for name in ("rows", "given", "wanted", "out")))
        for place, text in (
            ("", r"shapes cannot be multiplied \({}x{} and {}x{}\)"),
            ("2", r"size mismatch, m1: \[{} x {}\], m2: \[{} x {}\]"),
            ("3", r"same reduction dim, but got \[{}, {}\] X \[{}, {}\]"),
        )
    )
)
_UNNUMBERED = re.compile(
    r"mat1 dim 1 must match mat2 dim 0|same reduction dim, but got \["
    r"|size mismatch, got (?:input )?\(?\d+\)?, (?:mat )?\(?\d+x\d+\)?,(?: vec)? ?\(?\d+",
)
_LAYER_NAME = re.compile(r"self\.(?P<name>[\w.]*(?:fc|lin|head|class|proj|mlp|dense|out)\w*)\(", re.IGNORECASE)
_FEWEST_CHANNELS, _LARGEST_PART = 8, 4096
_BACKBONES = frozenset({192, 256, 384, 512, 640, 768, 1024, 1280, 1408, 1536, 1664, 1792, 2048, 2560, 4096})
"""Widths that backbones end with: two of them speak of another backbone, not of another size of images."""


def _examine_log(log: Log) -> LogMatch | None:
    told = find_message(log, _SHAPES)
    if told is not None:
        rows, given, wanted, out = (_number(told, name) for name in ("rows", "given", "wanted", "out"))
        return LogMatch(0.95, told.facts, *_advice(told, rows, given, wanted, out))
    told = find_message(log, _UNNUMBERED)
    if told is None:
        return None
    cause = "What arrives at the linear layer has another number of features than its `in_features`."
    fix = Fix("Print `x.shape` in front of the layer: its last number is what `in_features` has to be.")
    return LogMatch(0.9, told.facts, cause, fix)


def _number(told: Message, name: str) -> int:
    return int(next(text for text in (told.match[name], told.match[f"{name}2"], told.match[f"{name}3"]) if text))


def _advice(told: Message, rows: int, given: int, wanted: int, out: int) -> tuple[str, Fix]:
    """Cause and fix, from what the four numbers have in common."""
    named = _LAYER_NAME.search(told.frame.code if told.frame is not None else "")
    layer = f"`self.{named['name']}`" if named else "The linear layer"
    seen = f"{layer} takes {wanted} features and is given {given}"
    if given > 1 and wanted % (given * given) == 0 and wanted > given and rows % (wanted // given) == 0:
        batch = rows * given // wanted
        cause = f"{seen}: the map was not flattened. {rows} x {given} numbers are {batch} x {wanted}."
        return cause, Fix(
            f"Flatten in front of the layer: `x = torch.flatten(x, 1)`, which gives ({batch}, {wanted}). If the "
            f"features really are {given} wide, make it `nn.Linear({given}, {out})`."
        )
    squares = _squares(given, wanted) if not {given, wanted} <= _BACKBONES else None
    if squares is not None:
        channels, came, made = squares
        cause = (
            f"{seen}, as of a map {came / made:.3g} times as large on a side ({came} x {came}, not {made} x {made}, "
            f"with {channels} channels): the images are {'larger' if came > made else 'smaller'} than it was made for."
        )
        pool = "`nn.AdaptiveAvgPool2d(1)`" if made == 1 else f"`nn.AdaptiveAvgPool2d(k)`, k x k x channels = {wanted},"
        return cause, Fix(
            f"Put {pool} in front of the flatten, so that any image fits; or make it `nn.Linear({given}, {out})` "
            f"(`in_features={given}`), or bring the images to the old size."
        )
    return f"{seen}.", Fix(
        f"Make it `nn.Linear({given}, {out})` (`in_features={given}`), or bring what comes before it to {wanted} "
        "features: a head has to be as wide as the backbone's output (`model.num_features` in timm)."
    )


def _squares(given: int, wanted: int) -> tuple[int, int, int] | None:
    """Channels and the sides of two square maps that both widths are made of; the most channels that do it."""
    common = math.gcd(given, wanted)
    for part in range(1, min(common // _FEWEST_CHANNELS, _LARGEST_PART) + 1):
        channels = common // part
        came, made = math.isqrt(given // channels), math.isqrt(wanted // channels)
        if common % part == 0 and came * came * channels == given and made * made * channels == wanted:
            return channels, came, made
    return None


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for found in width_breaks(file):
        if found.what != "features":
            continue
        message = f"takes {found.wanted} features, given {found.given} by `{found.giver}`"
        fix = Fix(
            f"Write {found.given} for `{found.width.code}`, or make what comes before it give {found.wanted}.",
            FixSafety.UNSAFE,
            "which of the two widths is meant the text does not say",
            edits=(file.edit(found.width.span, str(found.given)),),
        )
        yield Hit(message, found.width.span, fix)


RULE = Rule(
    slug="linear-shape",
    family="shapes",
    title="A linear layer is given another number of features than it takes",
    level=Level.ERROR,
    log=LogFacet(("cannot be multiplied", "size mismatch, ", "mat1 dim 1", "reduction dim"), _examine_log),
    source=SourceFacet(("Linear",), _examine_source),
    before=before_by_passing("linear-shape"),
    during=absent("the first forward pass fails, before any step is done"),
    module=__name__,
)
