"""Frames of one sequence differ in size.

What happens
------------
`stack expects each tensor to be equal size` when the clip is put together, at the first clip that holds the odd frame.

Why
---
A frame was exported again with other settings, two videos were written into one folder, or a camera was turned.

How to confirm
--------------
The finding names the frames; `identify *.png` shows the size of each.

Fix
---
Export the odd frames again, or split the folder where the size changes.

When it is something else
-------------------------
Sequences that differ from each other, each of one size, are batched by cropping: see `collate-size-mismatch`. A
blurred and a sharp frame that differ are `pair-size-mismatch`.

Sources
-------
- `torch.stack`: https://docs.pytorch.org/docs/stable/generated/torch.stack.html
- ffmpeg, frames of one size: https://ffmpeg.org/ffmpeg-filters.html#scale-1
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from snellen.core.audits import clips, file_evidence, short
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


def _examine(plan: Plan) -> Iterator[Finding]:
    judged = False
    for folder in clips(plan):
        sizes: defaultdict[str, list[tuple[tuple[int, int], str]]] = defaultdict(list)
        for sample in folder.samples:
            image = folder.images.get(sample.image)
            if sample.index is not None and sample.group and image is not None and image.height:
                sizes[sample.group].append((image.upright_size, sample.image))
        sequences = {group: frames for group, frames in sizes.items() if len(frames) > 1}
        judged = judged or bool(sequences)
        odd = []
        for frames in sequences.values():
            (height, width), _ = Counter(size for size, _ in frames).most_common(1)[0]
            odd += [
                (path, f"is {size[1]} x {size[0]}, the others {width} x {height}")
                for size, path in frames
                if size != (height, width)
            ]
        if odd:
            path, text = odd[0]
            yield Finding(
                "clip-size-mismatch",
                Level.ERROR,
                f"{folder.key}: {len(odd)} frames differ in size from their sequence: {short(path)} {text}",
                setting_place(plan, folder.key),
                file_evidence(odd),
                Fix("Export these frames again at the size of their sequence, or split the sequence there."),
            )
    if not judged:
        raise NotApplicable("no data folder holds sequences of numbered frames")


RULE = Rule(
    slug="clip-size-mismatch",
    family="tasks",
    title="Frames of one clip differ in size",
    level=Level.ERROR,
    log=absent("the message is `collate-size-mismatch` in a log"),
    source=absent("only the files tell, no line of code does"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the loader fails before the step"),
    module=__name__,
)
