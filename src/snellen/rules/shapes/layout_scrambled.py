"""A feature map's axes are permuted although they are already in place.

What happens
------------
A layer behind a frozen backbone complains about channels: `expected input[4, 16, 384, 16] to have 384 channels, but
got 16 channels instead`. Where the layer takes any number of channels nothing is raised at all, and the model
learns from rows and columns that were taken for channels.

Why
---
`get_intermediate_layers(x, n, reshape=True)` of DINOv2 (and of the Vision Transformers of timm) returns maps of
shape `(B, C, H, W)`, and so does timm's `forward_intermediates`. The name `reshape` suggests tokens in `(B, H, W,
C)`, so `permute(0, 3, 1, 2)` is put behind it, which makes `(B, W, C, H)` of it.

How to confirm
--------------
Print the shape before the permute: with a ViT-S/14 on 224 x 224 pixels it is `(B, 384, 16, 16)` already. A
non-square input (224 x 448) shows which axis is which.

Fix
---
Remove the permute. Where the layout is your own choice say it: `output_fmt="NCHW"` in timm.

When it is something else
-------------------------
Without `reshape=True` the result is `(B, N, C)`, tokens, and has to be reshaped. Swin and other hierarchical
transformers of timm do return `(B, H, W, C)` from some methods. An image of shape `(H, W, 3)` given to a model is
not this: it is an image that was never turned into `(3, H, W)`.

Sources
-------
- DINOv2, `get_intermediate_layers`:
  https://github.com/facebookresearch/dinov2/blob/main/dinov2/models/vision_transformer.py
- timm, feature extraction: https://huggingface.co/docs/timm/feature_extraction
- Oquab et al., DINOv2: Learning Robust Visual Features without Supervision: https://arxiv.org/abs/2304.07193
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, Origin, SourceFile

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"expected input\[(?P<shape>[\d, ]+)\] to have (?P<wanted>\d+) channels, but got (?P<got>\d+) channels"
)
_FEWEST_FEATURES = 16
"""Fewer channels than this are an image, whose own layout is another failure."""


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        found = _MESSAGE.search(error.message)
        if found is None:
            continue
        shape = [int(part) for part in found["shape"].split(",")]
        wanted, got = int(found["wanted"]), int(found["got"])
        # The channels that are missed stand on another axis, once: then it is the order that is wrong.
        if len(shape) != 4 or wanted < _FEWEST_FEATURES or shape[2:].count(wanted) != 1:
            continue
        cause = (
            f"The feature map has shape {tuple(shape)}: its {wanted} channels stand on axis "
            f"{shape.index(wanted, 2)}, where the layer expects them on axis 1 and finds {got}."
        )
        return LogMatch(0.85, _evidence(error), cause, _fix(shape.index(wanted, 2)))
    return None


def _evidence(error: LoggedException) -> tuple[Evidence, ...]:
    telling = [frame.evidence for frame in error.frames if "permute" in frame.code or "intermediate" in frame.code]
    return (error.evidence, *telling[-2:])


def _fix(axis: int) -> Fix:
    back = "permute(0, 3, 1, 2)" if axis == 3 else "permute(0, 2, 3, 1)"
    return Fix(
        "Remove the permute between the backbone and this layer: `get_intermediate_layers(..., reshape=True)` and "
        "`forward_intermediates` give (B, C, H, W) already. "
        f"If the backbone really ends like this, undo it with `{back}`."
    )


_HARMLESS = frozenset({"[]", "float", "half", "to", "contiguous", "detach", "cpu", "cuda", "clone", "bfloat16"})
_TO_CHANNELS_FIRST = (0, 3, 1, 2)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        origin = _channels_last_taken(call)
        if origin is None or not set(origin.through) <= _HARMLESS or not _is_channels_first(origin.call):
            continue
        maker = origin.call.method
        message = f"`{maker}` returns (B, C, H, W) already; this makes (B, W, C, H) of it"
        if call.receiver is None:
            yield Hit(message, call.span, Fix("Remove this rearrangement."))
            continue
        fix = Fix(
            f"Write `{call.receiver}` alone.",
            safety=FixSafety.SAFE,
            reason=f"`{maker}` has this layout in DINOv2 and in timm",
            edits=(file.edit(call.span, call.receiver),),
        )
        yield Hit(message, call.span, fix)


def _channels_last_taken(call: CallSite) -> Origin | None:
    """The origin of a tensor that the call takes from channels last to channels first."""
    values = [argument.value for argument in call.arguments]
    if call.method == "permute" and call.receiver is not None:
        flat = values[0] if len(values) == 1 and isinstance(values[0], tuple) else tuple(values)
        return call.receiver_origin if flat == _TO_CHANNELS_FIRST else None
    if call.name == "torch.permute" and len(values) == 2:
        return call.arguments[0].origin if values[1] == _TO_CHANNELS_FIRST else None
    if call.name == "einops.rearrange" and len(values) >= 2 and isinstance(values[1], str):
        left, _, right = (" ".join(side.split()) for side in values[1].partition("->"))
        names, moved = left.split(), right.split()
        if len(names) == 4 and moved == [names[0], names[3], names[1], names[2]]:
            return call.arguments[0].origin
    return None


def _is_channels_first(maker: CallSite) -> bool:
    """Whether a call gives maps of shape (B, C, H, W) by the documentation of DINOv2 and timm."""
    if maker.method == "get_intermediate_layers":
        reshape = maker.argument(2, "reshape")
        return reshape is not None and reshape.value is True
    if maker.method == "forward_intermediates":
        layout = maker.argument(99, "output_fmt")
        return layout is None or layout.value == "NCHW"
    return False


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    contracts = plan.fact("contracts")
    for giver, taker in itertools.pairwise(contracts):
        if giver["layout"] != taker["layout"]:
            yield Finding(
                "layout-scrambled",
                Level.ERROR,
                f"{giver['part']} gives {giver['layout']}, {taker['part']} takes {taker['layout']}",
                fix=Fix(f"Permute between the two, from {giver['layout']} to {taker['layout']}."),
            )


RULE = Rule(
    slug="layout-scrambled",
    family="shapes",
    title="A feature map's axes are in the wrong order",
    level=Level.ERROR,
    log=LogFacet(("channels, but got",), _examine_log),
    source=SourceFacet(("permute", "rearrange", "transpose"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the shape is settled at the first forward pass, before any step"),
    module=__name__,
)
