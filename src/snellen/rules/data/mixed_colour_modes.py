"""Some images are stored in another colour mode than the rest: grey, palette, CMYK or with alpha.

What happens
------------
`RuntimeError: output with shape [1, 224, 224] doesn't match the broadcast shape [3, 224, 224]` from `Normalize`, or
`stack expects each tensor to be equal size, but got [3, 224, 224] at entry 0 and [4, 224, 224] at entry 5` from the
loader, when the first such image is drawn. Or nothing: a palette image opened without conversion gives the numbers
of its colours, not the colours.

Why
---
Images from several sources: photographs as RGB, old scans as grey, screenshots as PNG with alpha, pictures made for
print as CMYK, graphics as palette. `PIL.Image.open` gives each as it is stored.

How to confirm
--------------
`Counter(Image.open(name).mode for name in names)`: one mode has at least 80% of the images, the others are named
here; where none has, all modes are counted. 1-bit and 8-bit grey count as one.

Fix
---
Convert when reading: `Image.open(name).convert("RGB")`, OpenCV's default `IMREAD_COLOR`, or
`torchvision.io.read_image(name, ImageReadMode.RGB)`. `.convert("RGB")` drops an alpha channel and shows what it hid
(`transparent-image`). Snellen's own reading converts each and notes it.

When it is something else
-------------------------
Grey pictures that are stored in three channels are `mixed-grey-and-colour`. More than 8 bits a channel are
`mixed-bit-depth`. Batches of different sizes are `collate-size-mismatch`.

Sources
-------
- Pillow, modes: https://pillow.readthedocs.io/en/stable/handbook/concepts.html#modes
- torchvision, ImageReadMode: https://docs.pytorch.org/vision/stable/generated/torchvision.io.ImageReadMode.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from snellen.core.facts.data import FolderAudit, ImageRecord
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import FEW, image_finding, image_folders, opened, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_BECOMES = {
    "grey": "one channel without conversion",
    "grey with alpha": "two channels without conversion",
    "palette": "numbers of colours without conversion",
    "RGB with alpha": "four channels without conversion",
    "CMYK": "four channels without conversion, as inks",
    "RGB": "three channels",
}
_NAMES = {"1": "grey", "L": "grey", "LA": "grey with alpha", "La": "grey with alpha", "P": "palette", "PA": "palette"}
_NAMES |= {"RGBA": "RGB with alpha", "RGBa": "RGB with alpha", "RGBX": "RGB with alpha"}
_DEEP = ("I", "F")
"""Modes of more than 8 bits are another rule's."""


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        modes = {record.path: _NAMES.get(record.mode, record.mode) for record in opened(folder) if _plain(record)}
        counts = Counter(modes.values()).most_common()
        if len(counts) < 2:
            continue
        usual, most = counts[0]
        few = len(modes) - most <= FEW * len(modes)
        # The rarest modes come first: they are what a loader meets last. Of an even mixture no mode is the odd one.
        told = [item for item in modes.items() if item[1] != usual or not few]
        told.sort(key=lambda item: (dict(counts)[item[1]], item[0]))
        rest = f"; most are {usual}" if few else ""
        files = [(path, f"{mode}: {_BECOMES.get(mode, 'other channels')}{rest}") for path, mode in told]
        message = _told(folder, counts, len(told) if few else None)
        fix = 'Convert when reading: Image.open(path).convert("RGB"), or cv2.imread with its default flag.'
        yield image_finding(plan, folder, "mixed-colour-modes", Level.WARNING, message, files, fix)


def _plain(record: ImageRecord) -> bool:
    return not record.mode.startswith(_DEEP) and record.bits <= 8


def _told(folder: FolderAudit, counts: list[tuple[str, int]], others: int | None) -> str:
    listed = ", ".join(f"{mode} {count}" for mode, count in counts)
    if others is not None:
        return f"{seen(folder, others)} are stored in another colour mode than the rest ({listed})"
    return f"the images are stored in different colour modes ({listed})"


RULE = Rule(
    slug="mixed-colour-modes",
    family="data",
    title="Images of different colour modes are mixed",
    level=Level.WARNING,
    log=absent("the message about sizes belongs to collate-size-mismatch and channel-mismatch"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the loader raises before the step, or converts"),
    module=__name__,
)
