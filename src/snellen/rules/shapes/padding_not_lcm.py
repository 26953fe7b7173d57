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
Images that are not padded or resized at all need any padding first: the error is the same, the cause is simpler. A
model that interpolates its position embedding and its patches (`dynamic_img_pad` in timm) takes any size.

Sources
-------
- DINOv2, `PatchEmbed.forward` (the assertion):
  https://github.com/facebookresearch/dinov2/blob/main/dinov2/layers/patch_embed.py
- timm, `PatchEmbed`: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/patch_embed.py
- segmentation_models.pytorch, sides divisible by the output stride: https://smp.readthedocs.io/en/latest/
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.finding import Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


def _examine_log(log: Log) -> LogMatch | None:
    return None


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    yield from ()


RULE = Rule(
    slug="padding-not-lcm",
    family="shapes",
    title="Padding fits one part of the model and not the other",
    level=Level.ERROR,
    log=LogFacet(("multiple of patch", "divisible by patch"), _examine_log),
    source=SourceFacet(("//", "%", "ceil", "divisor", "multiple"), _examine_source),
    before=absent("filled by check"),
    during=absent("the sizes are settled at the first forward pass, before any step"),
    module=__name__,
)
