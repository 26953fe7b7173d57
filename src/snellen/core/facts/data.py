"""What the data of a run holds: samples as their layout gives them, and images and masks as they were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Box",
    "BoxConvention",
    "FolderAudit",
    "ImageRecord",
    "LayoutName",
    "ListingKind",
    "ListingProblem",
    "MaskRecord",
    "Pixels",
    "Sample",
    "Twin",
]

BoxConvention = Literal["xyxy", "xywh", "relative-cxcywh"]
"""How four numbers say a box: corners or corner and size in pixels, or centre and size as shares of the image."""

LayoutName = Literal[
    "class-folders",
    "class-csv",
    "image-masks",
    "instance-masks",
    "forged-masks",
    "voc-boxes",
    "yolo-boxes",
    "coco-json",
    "frame-pairs",
    "frames",
    "support-query",
    "images",
]
"""The ways in which data may lie in a folder; `images` is what is left when nothing else fits."""

ListingKind = Literal[
    "annotation-unreadable",
    "annotation-without-image",
    "broken-link",
    "circular-link",
    "contradicting-rows",
    "duplicate-row",
    "empty-folder",
    "encoding",
    "image-without-annotation",
    "image-without-mask",
    "image-without-partner",
    "image-without-spikes",
    "label-missing",
    "mask-without-image",
    "missing-file",
    "missing-folder",
    "no-plain-file",
    "other-case",
    "other-name",
    "partner-without-image",
    "row-unreadable",
    "same-name",
    "stray-file",
    "unlisted-folder",
    "unreadable-folder",
]
"""What may not fit in a data folder, seen from names, folders and annotations alone; a rule reports each."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box as its annotation writes it, before anything is converted.

    Args:
        label: Name or number of its class, as written.
        values: The four numbers.
        convention: What the file format says that they mean.
        path: The annotation file.
        line: Where it stands in there, from 1.
    """

    label: str
    values: tuple[float, float, float, float]
    convention: BoxConvention
    path: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to learn from, by the names of its files.

    Args:
        image: The image (of a deblurring pair the blurred frame).
        role: `support`, `query`, `authentic`, `forged`, `frame`; `""` where the layout knows only one kind.
        label: Name of its class, `None` without.
        group: What it was taken from: video, sequence, scene, patient; `""` when nothing says so.
        index: Its number within the group.
        shot: Of a support image the size of the support set it belongs to.
        masks: Masks that belong to it.
        partner: The sharp frame of a blurred one.
        boxes: Its boxes; `None` when the layout has boxes and this image has no annotation.
        stated_size: `(height, width)` that its annotation claims.
        spikes: The spike stream of a frame, or of its whole sequence.
        voxels: The voxel grid that was computed from it.
    """

    image: str
    role: str = ""
    label: str | None = None
    group: str = ""
    index: int | None = None
    shot: int | None = None
    masks: tuple[str, ...] = ()
    partner: str | None = None
    boxes: tuple[Box, ...] | None = ()
    stated_size: tuple[int, int] | None = None
    spikes: str | None = None
    voxels: str | None = None


@dataclass(frozen=True, slots=True)
class Pixels:
    """What the decoded pixels of an image look like; brightness is 0 (black) to 1 (white).

    Args:
        mean: Mean brightness.
        deviation: Standard deviation of the brightness.
        low: Brightness that 1% of the pixels stay under.
        high: Brightness that 99% of the pixels stay under.
        sharpness: Standard deviation of the Laplacian of the brightness, at a side of at most 512 pixels.
        colourful: Mean difference between the channels, 0 for a grey image that was saved in colour.
        entropy: Bits of the histogram of brightness, 0 to 8.
        transparent: Share of pixels that the alpha channel hides.
        fingerprint: 64 bits that stay nearly the same under scaling, compression and small changes of colour.
        signature: The brightness at 16 x 16, by which pictures of like fingerprints are compared; empty for a flat one.
        digest: Hash of the pixels as they were measured: equal for one picture in files of different bytes.
    """

    mean: float
    deviation: float
    low: float
    high: float
    sharpness: float
    colourful: float
    entropy: float
    transparent: float
    fingerprint: int
    signature: bytes = field(default=b"", repr=False)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image file, opened.

    Args:
        path: The file.
        bytes: Its size.
        digest: Hash of its content, `""` when it could not be read or no other image has its size.
        format: As its content says (`JPEG`, `PNG`), `""` when nothing recognises it.
        mode: Pillow's mode: `RGB`, `L`, `RGBA`, `P`, `CMYK`, `I;16`, `1` ...
        bits: Bits of one channel.
        height: Rows as stored, before `orientation`.
        width: Columns as stored.
        orientation: EXIF orientation, 1 (upright) to 8.
        frames: Number of frames or pages.
        problem: Why it cannot be decoded (or opened), `""` when nothing was found.
        pixels: `None` when its pixels were not measured: it is not in the sample, or they cannot be decoded.
    """

    path: str
    bytes: int
    digest: str = ""
    format: str = ""
    mode: str = ""
    bits: int = 0
    height: int = 0
    width: int = 0
    orientation: int = 1
    frames: int = 1
    problem: str = ""
    pixels: Pixels | None = None

    @property
    def upright_size(self) -> tuple[int, int]:
        """`(height, width)` as a viewer shows it."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


@dataclass(frozen=True, slots=True)
class MaskRecord:
    """One mask file, decoded.

    Args:
        path: The file.
        format: As its content says; `NPY` for a NumPy array.
        mode: Pillow's mode, or the dtype of an array.
        height: Rows.
        width: Columns.
        values: `(value, pixels)` of the most frequent values, at most 256, most frequent first; the value of a colour
            is 65536 R + 256 G + B, of a palette image the index.
        distinct: Number of different values.
        ramps: Of the pixels whose two neighbours in their row (or in their column) differ, the share that lies strictly
            between the two: under 0.02 for regions with hard borders, from 0.1 on after a smoothing filter or JPEG.
        colour: Whether the three channels differ anywhere.
        digest: Hash of the file's content, as that of an image, `""` when it could not be read.
        fingerprint: As that of an image's pixels, `None` when it was not computed.
        problem: Why it cannot be decoded, `""` when nothing was found.
    """

    path: str
    format: str = ""
    mode: str = ""
    height: int = 0
    width: int = 0
    values: tuple[tuple[int, int], ...] = ()
    distinct: int = 0
    ramps: float = 0.0
    colour: bool = False
    digest: str = ""
    fingerprint: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ListingProblem:
    """Something about the files that does not fit, seen from names, folders and annotations alone.

    Args:
        kind: What does not fit.
        message: One sentence with numbers and names.
        paths: The files it concerns.
        count: How many it concerns, when `paths` holds only the first ones.
        of: Among how many.
    """

    kind: ListingKind
    message: str
    paths: tuple[str, ...] = ()
    count: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class FolderAudit:
    """A data folder, listed, opened and measured.

    Args:
        key: Key path that names it, such as `data.train`.
        path: From the root.
        layout: Name of the layout it was read as.
        why: What the layout was recognised by.
        samples: What there is to learn from.
        images: Every image of the samples by path, partners included.
        masks: Every mask that was decoded by path.
        classes: Declared names of the classes, in the order of their numbers; empty when nothing declares them.
        classes_from: What declares them: a file or a key path.
        problems: What does not fit by names alone.
        others: Number of files that are not used, by suffix.
        measured: Of how many images the pixels were measured: all, or an even sample.
        notes: What kept the audit from looking further or from remembering what it saw, one sentence each.
    """

    key: str
    path: str
    layout: str
    why: str = ""
    samples: Sequence[Sample] = ()
    images: Mapping[str, ImageRecord] = field(default_factory=dict)
    masks: Mapping[str, MaskRecord] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    classes_from: str = ""
    problems: tuple[ListingProblem, ...] = ()
    others: tuple[tuple[str, int], ...] = ()
    measured: int = 0
    notes: tuple[str, ...] = ()

    @property
    def split(self) -> str:
        """The last part of the key: `train`, `val`, `test`."""
        return self.key.rpartition(".")[2]

    def coverage(self) -> str:
        """For people: how much was looked at.

        Example:
            >>> FolderAudit("data.train", "train", "class-folders").coverage()
            'opened 0 images, measured the pixels of 0'
        """
        return f"opened {len(self.images)} images, measured the pixels of {self.measured}"


@dataclass(frozen=True, slots=True)
class Twin:
    """Two images that show the same.

    Args:
        one: Path of the first.
        other: Path of the second.
        kind: `same-file` (equal bytes), `same-pixels`, `near` (scaled, compressed, slightly changed, mirrored) or
            `crop` (one shows a part of the other).
        distance: Bits in which their fingerprints differ, 0 for equal ones.
    """

    one: str
    other: str
    kind: Literal["same-file", "same-pixels", "near", "crop"]
    distance: int = 0
