"""channels_last is asked of a tensor that has no four axes.

What happens
------------
`RuntimeError: required rank 4 tensor to use channels_last format`, from `x.to(memory_format=torch.channels_last)`,
`x.contiguous(memory_format=...)` or from moving a whole model; for volumes `required rank 5 tensor to use
channels_last_3d format`. Some backends word it `Tensor must have 4 dimensions, but got 5 dimensions`.

Why
---
`torch.channels_last` is a layout of (B, C, H, W), `torch.channels_last_3d` one of (B, C, D, H, W); nothing else has
them. An image without its batch axis has three axes, a batch of videos or volumes has five, tokens (B, N, C) have
three. Under `torch.func` transforms and `vmap` a tensor has one axis more than it shows.

How to confirm
--------------
`print(x.shape)` in front of the line. For a model: `[name for name, p in model.named_parameters() if p.dim() == 5]`.

Fix
---
Convert only what has four axes: batches, after `unsqueeze(0)` or in the training loop, and
`torch.channels_last_3d` for five. In a model with other weights convert layer by layer: `for layer in
model.modules(): layer.to(memory_format=torch.channels_last) if isinstance(layer, torch.nn.Conv2d) else None`.

When it is something else
-------------------------
In source, a model of 3-d convolutions or a tensor of five axes is `channels-last-5d`. `view size is not compatible`
behind a conversion is `view-stride`: channels last is another stride, and `view` minds. A convolution that complains
about the rank of its input wants the batch axis.

Sources
-------
- Channels last memory format: https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html
- `torch.memory_format`: https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch-memory-format
- `torch.nn.Module.to`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.to
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.memory_formats import FormatCall, format_calls, ranks
from snellen.core.code.sizes import tensor_shape
from snellen.core.finding import Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"required rank (?P<rank>[45]) tensor(?: to use (?P<format>channels_last(?:_3d)?) format)?"
    r"|tensor must have (?P<rank2>[45]) dimensions(?:,? but got (?P<given>\d))?",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"(?P<what>[A-Za-z_][\w.]{0,80})\.(?:to|contiguous|clone|cuda)\([^\n]{0,80}memory_?format", re.IGNORECASE
)
_FIVE = re.compile(r"conv3d|3d\b|video|volume|voxel|clip_len|num_frames|\bframes\b|5-?d\b", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    told = find_message(log, _MESSAGE)
    if told is None:
        return None
    rank, format_ = told.match["rank"] or told.match["rank2"], told.match["format"]
    name = format_ or ("channels_last" if rank == "4" else "channels_last_3d")
    asked = _ASKED.search(told.code) or next((found for line in log.lines if (found := _ASKED.search(line.text))), None)
    what = asked["what"] if asked else ""
    given = int(told.match["given"]) if told.match["given"] else _axes(log, what)
    axes = "four" if rank == "4" else "five"
    cause = f"{name} is a layout of {axes} axes, which {f'`{what}`' if what else 'the tensor'} does not have" + (
        f": it has {given}." if given else "."
    )
    five = given == 5 or (given is None and rank == "4" and _FIVE.search(told.code) is not None)
    spoken = log.search(r"channels_?last|memory_?format") is not None
    score = 0.97 if format_ else 0.9 if spoken else 0.85 if told.match["rank"] else 0.6
    return LogMatch(score, told.facts, cause, _fix(what or "x", rank, five=five))


def _axes(log: Log, name: str) -> int | None:
    """How many axes a tensor has, where the log shows the line that makes it."""
    made = re.compile(
        rf"\b{re.escape(name)}\s*=[^\n]{{0,40}}\b(?:zeros|ones|randn?|empty)\([({{\[]?(?P<sizes>[^\n(){{}}\[\]]{{1,80}})"
    )
    for text in (
        *(frame.code for error in log.exceptions for frame in error.frames),
        *(line.text for line in log.lines),
    ):
        found = made.search(text) if name else None
        if found is not None:
            return sum("=" not in part for part in found["sizes"].split(",") if part.strip())
    return None


def _fix(what: str, rank: str, *, five: bool) -> Fix:
    if rank == "5":
        return Fix(
            f"Write `torch.channels_last` where `{what}` is (B, C, H, W); `channels_last_3d` is for (B, C, D, H, W)."
        )
    if five:
        return Fix(
            f"With five axes write `memory_format=torch.channels_last_3d` for `{what}`; in a model that has 2-d "
            "convolutions as well convert its `Conv2d` and `Conv3d` layers one by one."
        )
    return Fix(
        f"Convert `{what}` only where it is (B, C, H, W), for example `if x.dim() == 4:`. A single image needs its "
        "batch axis first, `x.unsqueeze(0)`; in a model convert its `Conv2d` layers one by one."
    )


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for asked in format_calls(file):
        wanted = 4 if asked.format == "channels_last" else 5
        found = ranks(file, asked.call)
        if len(found) != 1 or wanted in found or (wanted == 4 and 5 in found):
            continue
        rank = min(found)
        what = asked.call.receiver or "the new tensor"
        if wanted == 5 and rank == 4:
            fix = Fix("Write `torch.channels_last`: it is the layout of four axes.")
        elif rank == 3 and _is_image(asked):
            fix = Fix(f"Add the batch axis first: `{what}.unsqueeze(0).to(memory_format=torch.channels_last)`.")
        else:
            fix = Fix("Leave the memory format away.")
        yield Hit(f"{asked.format} needs {wanted} axes, `{what}` has {rank}", asked.call.span, fix)


def _is_image(asked: FormatCall) -> bool:
    """Whether three axes are those of an image: then the batch axis is all that is missing."""
    shape = tensor_shape(asked.call.receiver_origin)
    return asked.call.receiver is not None and (shape is None or shape[0] in (1, 3, 4))


RULE = Rule(
    slug="channels-last-rank",
    family="shapes",
    title="channels_last is asked of a tensor without four axes",
    level=Level.ERROR,
    log=LogFacet(("required rank", "tensor must have"), _examine_log),
    source=SourceFacet(("channels_last",), _examine_source),
    before=absent("a run's tensors have four axes wherever it asks for channels last"),
    during=absent("the conversion fails before the first step"),
    module=__name__,
)
