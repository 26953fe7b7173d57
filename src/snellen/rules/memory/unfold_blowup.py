"""A feature map is unfolded into overlapping patches only to be reduced again.

What happens
------------
`F.unfold` of a small feature map asks for gigabytes: patches of 12 x 12 from 384 channels of 64 x 64 positions,
batch 8, are 4.63 GiB in float32, and a normalised copy doubles it. `CUDA out of memory. Tried to allocate 4.63
GiB`.

Why
---
`unfold` copies every value once for each patch that it lies in: `kernel² / stride²` times. What follows is often a
mean over the patch, which is a pooling, or a product of all patches with all others, which is a sum of shifted
products. Both have the same numbers without the copy.

How to confirm
--------------
The size is `B * C * kernel² * positions * bytes`. `torch.cuda.max_memory_allocated()` before and after the line
shows it.

Fix
---
A mean over the patch: `F.avg_pool2d(x, kernel, stride)`, the same values. A maximum: `F.max_pool2d`. Correlation of
patches: correlate positions first and sum along the diagonals, or go through the patches in blocks.

When it is something else
-------------------------
Out of memory on another line than the unfold. Unfolding a single image with large strides, where nothing overlaps,
copies each value once and is harmless.

Sources
-------
- `torch.nn.functional.unfold`: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.unfold.html
- `torch.nn.Unfold`, the formula of its output: https://docs.pytorch.org/docs/stable/generated/torch.nn.Unfold.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


_OUT_OF_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|OutOfMemory", re.IGNORECASE)
_AMOUNT = re.compile(r"allocate (?P<amount>[\d.]+ ?(?:[KMGT]i?B|bytes))", re.IGNORECASE)
_UNFOLDS = re.compile(r"\b(?:[Uu]nfold|im2col)\s*\(")


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        frame = next((f for f in error.frames if _UNFOLDS.search(f.code) or f.function == "unfold"), None)
        if frame is None or not _OUT_OF_MEMORY.search(error.text):
            continue
        amount = _AMOUNT.search(error.message)
        asked = f" asks for {amount['amount']}" if amount else " asks for more memory than there is"
        cause = f"The unfold{asked}: it copies every value once for each patch that it lies in."
        fix = Fix(
            "If the patches are averaged, use `F.avg_pool2d` with the same kernel and stride: the same numbers without "
            "the copy. If they are compared with each other, go through them in blocks. A smaller batch only moves the "
            "limit."
        )
        return LogMatch(0.92, (error.evidence, frame.evidence), cause, fix)
    return None


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    yield from ()


RULE = Rule(
    slug="unfold-blowup",
    family="memory",
    title="Memory runs out in an unfold that is not needed",
    level=Level.WARNING,
    log=LogFacet(("unfold", "im2col"), _examine_log),
    source=SourceFacet(("unfold", "Unfold"), _examine_source),
    before=absent("filled by check"),
    during=absent("memory is settled by the first step, which the rehearsal takes"),
    module=__name__,
)
