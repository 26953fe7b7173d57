"""channels_last is asked of a model of 3-d convolutions or of a batch of videos.

What happens
------------
`model.to(memory_format=torch.channels_last)` raises `required rank 4 tensor to use channels_last format` as soon as
it meets the first `Conv3d`. The same line worked on the image model that the training script was copied from.

Why
---
The weight of a `Conv3d` has five axes (out, in, depth, height, width), as has a batch of videos (B, C, T, H, W) or
(B, T, C, H, W). `torch.channels_last` is defined for four axes only. `Module.to` passes the format on to every
parameter of four or five axes; those with fewer (biases, norms, linear layers) it leaves alone.

How to confirm
--------------
`sorted({p.dim() for p in model.parameters()})` shows a 5.

Fix
---
`torch.channels_last_3d`, for a model that holds no 2-d convolutions. With both kinds convert layer by layer: each
`Conv2d` to `torch.channels_last`, each `Conv3d` to `torch.channels_last_3d`. For 3-d convolutions measure first:
the gain that tensor cores give is smaller there than in 2-d.

When it is something else
-------------------------
An image without its batch axis has three axes: `channels-last-rank`, which also knows the message in a log.

Sources
-------
- `torch.memory_format`: https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch-memory-format
- `torch.nn.Module.to`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.to
- Channels last memory format: https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.code.memory_formats import FormatCall, format_calls, ranks
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


def _examine(file: SourceFile) -> Iterator[Hit]:
    for asked in format_calls(file):
        found = ranks(file, asked.call)
        if asked.format != "channels_last" or 5 not in found:
            continue
        what = f"`{asked.call.receiver or asked.call.code}`"
        if 4 in found:
            message = f"{what} holds 3-d convolutions, whose weights have five axes; channels_last needs four"
            yield Hit(message, asked.call.span, _one_by_one(asked))
        else:
            message = f"{what} has five axes; channels_last needs four"
            yield Hit(message, asked.argument.span, _three_dimensional(file, asked))


def _one_by_one(asked: FormatCall) -> Fix:
    name = asked.call.receiver or "model"
    return Fix(
        f"Convert layer by layer: for each `layer` of `{name}.modules()`, `Conv2d` to `torch.channels_last` and "
        "`Conv3d` to `torch.channels_last_3d`."
    )


def _three_dimensional(file: SourceFile, asked: FormatCall) -> Fix:
    text = "Write `torch.channels_last_3d`."
    if not asked.argument.code.endswith(".channels_last"):
        return Fix(text)
    return Fix(
        text,
        FixSafety.SAFE,
        "the line raises as it stands, and a layout changes no numbers",
        edits=(file.edit(asked.argument.span, f"{asked.argument.code}_3d"),),
    )


RULE = Rule(
    slug="channels-last-5d",
    family="shapes",
    title="channels_last is asked of a model or a tensor with five axes",
    level=Level.ERROR,
    log=absent("its message is the same for every rank: channels-last-rank"),
    source=SourceFacet(("channels_last",), _examine),
    before=absent("no setting of a run chooses a memory format"),
    during=absent("the conversion fails before the first step"),
    module=__name__,
)
