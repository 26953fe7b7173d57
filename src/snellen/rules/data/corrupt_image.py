"""A file that should be an image cannot be decoded.

What happens
------------
`PIL.UnidentifiedImageError: cannot identify image file`, `OSError: image file is truncated (57 bytes not
processed)`, `broken PNG file`, in the middle of an epoch, when the file is drawn.

Why
---
A download or a copy ended early, a web server sent an error page under the name of an image, the disk was full when
the file was written, or the ending does not fit the format.

How to confirm
--------------
`file NAME` and `ls -l NAME`: zero bytes, HTML, or fewer bytes than the source has. `Image.open(name).load()` raises
the same error.

Fix
---
Fetch the file again or take it off the list. Decode every file once before training and keep the list of bad ones.
`ImageFile.LOAD_TRUNCATED_IMAGES = True` fills the missing part with grey: training then learns from half an image.

When it is something else
-------------------------
All images fail: the decoder is missing (AVIF, HEIC, some TIFF compressions) or the folder holds something else. A
file that is not there is `missing-file`.

Sources
-------
- Pillow, `ImageFile.LOAD_TRUNCATED_IMAGES`: https://pillow.readthedocs.io/en/stable/reference/ImageFile.html
- Pillow, `Image.open`: https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.open
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
    slug="corrupt-image",
    family="data",
    title="An image cannot be decoded",
    level=Level.ERROR,
    log=LogFacet(("identify image", "truncated", "broken png", "broken data stream", "pngimageplugin"), _examine_log),
    source=SourceFacet(("except",), _examine_source),
    before=absent("filled by check"),
    during=absent("a bad file raises in the loader, before the step"),
    module=__name__,
)
