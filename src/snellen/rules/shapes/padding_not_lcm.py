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

import math
import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Fix, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


_REFUSED = re.compile(
    r"input (?:image )?(?P<axis>height|width) ?\(?(?P<side>\d+)?\)? ?(?:is )?"
    r"(?:not a multiple of patch (?:height|width)|should be divisible by patch size) ?\(?(?P<patch>\d+)",
    re.IGNORECASE,
)
_PADS = re.compile(r"\bpad\w*\b|ceil\(|-\s*\w+\s*%\s*\d+", re.IGNORECASE)
_MULTIPLE = re.compile(
    r"//\s*(\d+)\s*\)?\s*\*\s*\1|%\s*(\d+)|(?:multiple|divisor|divisible)\w*(?: of| by)?\W{0,3}(\d+)"
)


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        found = _REFUSED.search(error.message)
        # Without a trace of padding the images were simply never brought to a fitting size.
        padding = _padding(log, error) if found else None
        if found is None or padding is None:
            continue
        patch = int(found["patch"])
        side = int(found["side"]) if found["side"] else None
        multiple = padding[1] or next((m for m in (64, 32, 16) if side and side % m == 0), None)
        if multiple is None or multiple % patch == 0:
            continue
        both = math.lcm(patch, multiple)
        size = f"{math.ceil(side / both) * both} pixels for a side of {side}" if side else f"a multiple of {both}"
        cause = (
            f"The images are padded to a multiple of {multiple}, the backbone needs a multiple of its patch, {patch}."
        )
        fix = Fix(
            f"Pad to a multiple of lcm({patch}, {multiple}) = {both}: {size}. Cut the padding off the output again."
        )
        return LogMatch(0.9, (error.evidence, padding[0]), cause, fix)
    return None


def _padding(log: Log, error: LoggedException) -> tuple[Evidence, int | None] | None:
    """What shows that the images were padded, and to a multiple of what."""
    told: list[tuple[Evidence, str]] = [(frame.evidence, frame.code) for frame in error.frames]
    told += [(line.evidence, line.text) for line in log.lines if "pad" in line.text.lower()]
    for evidence, text in told:
        if _PADS.search(text) and not _REFUSED.search(text):
            number = _MULTIPLE.search(text)
            return evidence, int(next(part for part in number.groups() if part)) if number else None
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
