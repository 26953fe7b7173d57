"""The content of an image file is of another format than its name says.

What happens
------------
Most readers look at the content and say nothing. Those that trust the name fail: `tf.io.decode_png`, GPU decoders
for JPEG, browsers with strict types, tools that choose a reader by suffix. A WebP, AVIF or GIF under the name of a
JPEG fails wherever the reader lacks that format.

Why
---
Web servers send WebP whatever the address ends with; files were renamed instead of converted; a JPEG was renamed to
`.png` because a tool wanted PNG: its pixels are still lossy.

How to confirm
--------------
`file NAME`, or `Image.open(name).format`, against the suffix.

Fix
---
Rename the file to what it is, together with the lists that name it; or convert it. A mask or a forged image that
was once a JPEG keeps the marks of it: fetch the original.

When it is something else
-------------------------
A file that is no image at all is `corrupt-image`.

Sources
-------
- Pillow, image file formats: https://pillow.readthedocs.io/en/stable/handbook/image-file-formats.html
- TensorFlow, decode_png: https://www.tensorflow.org/api_docs/python/tf/io/decode_png
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from snellen.core.facts.data import ImageRecord
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, opened, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_SUFFIXES = {
    "JPEG": "jpg jpeg jpe jfif jif",
    "MPO": "jpg jpeg mpo",
    "PNG": "png apng",
    "TIFF": "tif tiff",
    "GIF": "gif",
    "BMP": "bmp dib",
    "DIB": "dib bmp",
    "WEBP": "webp",
    "JPEG2000": "jp2 j2k j2c jpf jpx jpc",
    "PPM": "ppm pgm pbm pnm pfm",
    "AVIF": "avif avifs",
}
_OFTEN_MISSING = ("WEBP", "GIF", "AVIF", "JPEG2000", "BMP", "TIFF")
"""Formats that at least one of OpenCV, torchvision and TensorFlow does not read in every build."""


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        wrong = sorted((record for record in opened(folder) if _differs(record)), key=lambda record: record.path)
        if not wrong:
            continue
        message = f"{seen(folder, len(wrong))} hold another format than their name says"
        level = Level.WARNING if any(record.format in _OFTEN_MISSING for record in wrong) else Level.NOTE
        files = [(record.path, f"holds {record.format}") for record in wrong]
        fix = "Rename them to what they hold, and so in the lists that name them, or convert them."
        yield image_finding(plan, folder, "suffix-mismatch", level, message, files, fix)


def _differs(record: ImageRecord) -> bool:
    known = _SUFFIXES.get(record.format, "").split()
    suffix = PurePath(record.path).suffix.lower().lstrip(".")
    return bool(known and suffix) and suffix not in known


RULE = Rule(
    slug="suffix-mismatch",
    family="data",
    title="The suffix of an image does not fit its content",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("only the files tell what is in them"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
