"""A photograph is stored turned, with a note how to hold it, and not every reader heeds the note.

What happens
------------
Nothing fails. `cv2.imread` turns the image upright, `PIL.Image.open` and `torchvision.io.read_image` do not:
trained with one and used with the other, people lie on their sides. Masks and boxes that were made on the one view
do not fit the other: where both are square nothing is noticed at all.

Why
---
Phones write the sensor's rows as they come and set the EXIF tag Orientation; viewers and annotation tools turn the
picture, programs often not.

How to confirm
--------------
`Image.open(name).getexif().get(0x0112, 1)` is not 1. With masks or boxes: compare their size with
`Image.open(name).size` (as stored) and with `ImageOps.exif_transpose(...)` (upright).

Fix
---
Turn the pixels once and drop the tag: `ImageOps.exif_transpose(im).save(...)` or `jpegtran -copy none -rotate 90`;
check the masks and boxes of these images afterwards. Or use the same reader for annotating, training and
prediction, with `exif_transpose` after `Image.open`, or `apply_exif_orientation=True` in torchvision.

When it is something else
-------------------------
Masks whose size fits neither view are a matter of pairing, not of orientation.

Sources
-------
- Pillow, ImageOps.exif_transpose: https://pillow.readthedocs.io/en/stable/reference/ImageOps.html#PIL.ImageOps.exif_transpose
- OpenCV, IMREAD_IGNORE_ORIENTATION: https://docs.opencv.org/4.x/d8/d6a/group__imgcodecs__flags.html
- torchvision, decode_image: https://docs.pytorch.org/vision/stable/generated/torchvision.io.decode_image.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.data import FolderAudit, ImageRecord, Sample
from snellen.core.finding import Finding, Level
from snellen.core.image_sets import image_finding, image_folders, opened, seen
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_TURNED = {
    2: "mirrored",
    3: "upside down",
    4: "mirrored, upside down",
    5: "mirrored, turned by 90 degrees",
    6: "turned by 90 degrees",
    7: "mirrored, turned by 90 degrees",
    8: "turned by 90 degrees",
}
_LYING = 5
"""From this orientation on rows and columns are exchanged."""


def _examine(plan: Plan) -> Iterator[Finding]:
    for folder in image_folders(plan):
        turned = [record for record in opened(folder) if record.orientation in _TURNED]
        if not turned:
            continue
        samples = {sample.image: sample for sample in folder.samples}
        lying = {record.path for record in turned if _annotated_as_stored(folder, record, samples.get(record.path))}
        turned.sort(key=lambda record: (record.path not in lying, record.path))
        message = f"{seen(folder, len(turned))} are stored turned, with an EXIF orientation"
        fix = "Turn the pixels once, drop the tag (ImageOps.exif_transpose) and look at what was annotated on them."
        if lying:
            message += (
                f"; the masks or boxes of {len(lying)} of them have the size of the image as stored, and do not "
                "fit where a reader turns it upright (Snellen, cv2.imread)"
            )
            fix = "Turn these images together with their masks and boxes and drop the tag, or only drop the tag."
        files = [
            (record.path, _TURNED[record.orientation] + (", annotated as stored" if record.path in lying else ""))
            for record in turned
        ]
        level = Level.ERROR if lying else Level.WARNING
        yield image_finding(plan, folder, "exif-rotation", level, message, files, fix)


def _annotated_as_stored(folder: FolderAudit, record: ImageRecord, sample: Sample | None) -> bool:
    """Whether masks or annotations have the size of the image before it is turned upright, and not after."""
    if sample is None or record.orientation < _LYING or record.height == record.width:
        return False
    masks = [folder.masks[path] for path in sample.masks if path in folder.masks]
    sizes = [(mask.height, mask.width) for mask in masks if not mask.problem]
    sizes += [sample.stated_size] if sample.stated_size is not None else []
    return (record.height, record.width) in sizes


RULE = Rule(
    slug="exif-rotation",
    family="data",
    title="An image is stored turned",
    level=Level.WARNING,
    log=absent("nothing is printed: the image is used as it is"),
    source=absent("whether a reader must heed it depends on the files"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the batches look as they always do"),
    module=__name__,
)
