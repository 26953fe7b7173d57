"""A feature map's axes are permuted although they are already in place.

What happens
------------
A layer behind a frozen backbone complains about channels: `expected input[4, 16, 384, 16] to have 384 channels, but
got 16 channels instead`. Where the layer takes any number of channels nothing is raised at all, and the model
learns from rows and columns that were taken for channels.

Why
---
`get_intermediate_layers(x, n, reshape=True)` of DINOv2 (and of the Vision Transformers of timm) returns maps of
shape `(B, C, H, W)`, and so do timm's `forward_intermediates` and the `feature_maps` of transformers' backbones. The
name `reshape` suggests tokens in `(B, H, W, C)`, so `permute(0, 3, 1, 2)` is put behind it, which makes
`(B, W, C, H)` of it.

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
transformers of timm do return `(B, H, W, C)` from some methods. An image of shape `(H, W, 3)` given to a model was
never turned into `(3, H, W)`: `channel-mismatch`.

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
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message, numbers
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, Origin, SourceFile

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"expected input\[(?P<shape>[\d, ]+)\] to have (?P<wanted>\d{1,9}) channels, but got (?P<got>\d{1,9}) channels"
)
_COUNTS = re.compile(
    r"expected (\d{1,9}) channels,? (?:but )?got (\d{1,9})"
    r"|running_mean should contain (?P<elements>\d{1,9}) elements not (\d{1,9})",
    re.IGNORECASE,
)
_PERMUTED = re.compile(r"permute\(0, ?3, ?1, ?2\)|movedim\(-1, ?1\)|b h w c ?-> ?b c h w")
_FEWEST_FEATURES = 16
"""Fewer channels than this are an image, whose own layout is another failure."""


def _examine_log(log: Log) -> LogMatch | None:
    told = find_message(log, _MESSAGE)
    if told is None:
        return _without_shape(log)
    shape, wanted, got = numbers(told.match["shape"]), int(told.match["wanted"]), int(told.match["got"])
    # The channels that are missed stand on another axis, once: then it is the order that is wrong.
    if len(shape) != 4 or wanted < _FEWEST_FEATURES or shape[2:].count(wanted) != 1:
        return None
    cause = (
        f"The feature map has shape {shape}: its {wanted} channels stand on axis "
        f"{shape.index(wanted, 2)}, where the layer expects them on axis 1 and finds {got}."
    )
    return LogMatch(0.88, _evidence(told), cause, _fix(shape.index(wanted, 2)))


def _without_shape(log: Log) -> LogMatch | None:
    """Numbers of channels alone, beside a permute of what a backbone gave."""
    told = find_message(log, _COUNTS)
    if told is None:
        return None
    got, wanted = (int(text) for text in told.match.groups() if text)
    wanted, got = (wanted, got) if told.match["elements"] else (got, wanted)
    if wanted < _FEWEST_FEATURES or not _PERMUTED.search(told.code) or "intermediate" not in told.code:
        return None
    cause = f"The layer takes {wanted} channels and finds {got}, behind a permute of features that had them on axis 1."
    return LogMatch(0.85, _evidence(told), cause, _fix(3))


def _evidence(told: Message) -> tuple[Evidence, ...]:
    frames = told.error.frames if told.error is not None else ()
    telling = [frame.evidence for frame in frames if "permute" in frame.code or "intermediate" in frame.code]
    return (told.evidence, *telling[-2:])


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
        if origin is None or not _is_channels_first(origin):
            continue
        maker = "feature_maps" if ".feature_maps" in origin.through else origin.call.method
        message = f"`{maker}` returns (B, C, H, W) already; this makes (B, W, C, H) of it"
        if call.receiver is None:
            yield Hit(message, call.span, Fix("Remove this rearrangement."))
            continue
        fix = Fix(
            f"Write `{call.receiver}` alone.",
            safety=FixSafety.SAFE,
            reason=f"`{maker}` has this layout in DINOv2, timm and transformers",
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
    if call.method in ("movedim", "moveaxis"):
        axes = values if call.receiver is not None else values[1:]
        whose = (
            call.receiver_origin if call.receiver is not None else call.arguments[0].origin if call.arguments else None
        )
        return whose if axes in ([-1, 1], [3, 1]) else None
    if call.name == "einops.rearrange" and len(values) >= 2 and isinstance(values[1], str):
        left, _, right = (" ".join(side.split()) for side in values[1].partition("->"))
        names, moved = left.split(), right.split()
        if len(names) == 4 and moved == [names[0], names[3], names[1], names[2]]:
            return call.arguments[0].origin
    return None


def _is_channels_first(origin: Origin) -> bool:
    """Whether maps are of shape (B, C, H, W) by the documentation of DINOv2, timm and transformers."""
    maker = origin.call
    if ".feature_maps" in origin.through:
        backbone = maker.receiver_origin
        return backbone is not None and re.search(r"Backbone(?:\.from_\w+)?$", backbone.name) is not None
    if not set(origin.through) <= _HARMLESS:
        return False
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
    log=LogFacet(("channels, but got", "channels, got", "channels but got", "should contain"), _examine_log),
    source=SourceFacet(("permute", "rearrange", "movedim", "moveaxis"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the shape is settled at the first forward pass, before any step"),
    module=__name__,
)
