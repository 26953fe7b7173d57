"""Which mask or annotation belongs to which image, by name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from snellen.core.facts.data import ListingKind, ListingProblem
from snellen.data.layouts.problems import counted

__all__ = ["MARK_END", "Named", "Pairs", "pair"]

MARK_END = re.compile(
    r"[_.-](?:masks?|gt|ground_?truth|seg|segmentation|labels?|annot|annotation|matte|"
    r"gtfine_labelids|gtfine_labeltrainids|\d(?:st|nd)_manual|manual\d?|l)(?:[_-]?\d{1,4})?$",
    re.IGNORECASE,
)
"""What the name of an image is lengthened by to name its mask."""

_MARK_START = re.compile(r"(^|/)(?:mask|gt|label|seg)[_-](?=[^/]+$)", re.IGNORECASE)
_IMAGE = re.compile(r"[_.-](?:leftimg8bit|images?|img|rgb|sat|training|test)$", re.IGNORECASE)

Named = tuple[str, str]
"""What a file is called relative to its own folder, without its suffix; and its path."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images with what belongs to them.

    Args:
        found: Each image and its marks, none for some.
        unused: Marks that belong to no image.
        problems: What does not fit, by name.
    """

    found: tuple[tuple[str, tuple[str, ...]], ...]
    unused: tuple[str, ...]
    problems: tuple[ListingProblem, ...]

    @property
    def paired(self) -> int:
        """How many images have at least one mark."""
        return sum(bool(marks) for _, marks in self.found)


def pair(
    images: Sequence[Named],
    marks: Sequence[Named],
    *,
    image: str = "image",
    mark: str = "mask",
    where: str = "masks",
) -> Pairs:
    """Pair images with marks of the same name.

    Names may differ by what such files are called after (`7.jpg` and `7_mask.png`), and by upper and lower case, which
    becomes a problem, since a program that opens the file by the image's name does not find it.

    Args:
        images: The images.
        marks: Masks, or files of annotations.
        image: What an image is called in messages.
        mark: Likewise a mark.
        where: Name of the folder that they lie in.

    Example:
        >>> found = pair([("1", "i/1.jpg"), ("2", "i/2.jpg")], [("1_mask", "m/1_mask.png")])
        >>> found.found, found.problems[0].message
        ((('i/1.jpg', ('m/1_mask.png',)), ('i/2.jpg', ())), '1 of 2 images has no mask in masks: 2.jpg')
    """
    found, folded = _match(images, marks)
    if not any(found):
        # No name fits together with its folder: the folders may be arranged in another way.
        short_images = [(name.rpartition("/")[2], path) for name, path in images]
        short_marks = [(name.rpartition("/")[2], path) for name, path in marks]
        if len(dict(short_images)) == len(images):
            found, folded = _match(short_images, short_marks)
    used = {path for paths in found for path in paths}
    unused = tuple(path for _, path in marks if path not in used)
    unmarked = [path for (_, path), paths in zip(images, found, strict=True) if not paths]
    names = Counter(name for name, _ in images)
    twice = [path for name, path in images if names[name] > 1]
    kinds: tuple[ListingKind, ListingKind] = ("image-without-annotation", "annotation-without-image")
    if mark == "mask":
        kinds = ("image-without-mask", "mask-without-image")
    problems = (
        *counted(kinds[0], unmarked, len(images), f"{image}s {{has}} no {mark} in {where}"),
        *counted(kinds[1], unused, len(marks), f"{mark}s {{has}} no {image}"),
        *counted("same-name", twice, len(images), f"{image}s {{shares}} their name with another, and so their {mark}"),
        *counted("other-case", folded, len(marks), f"{mark}s {{has}} the name of an {image} but for its case"),
    )
    return Pairs(tuple((path, tuple(paths)) for (_, path), paths in zip(images, found, strict=True)), unused, problems)


def _match(images: Sequence[Named], marks: Sequence[Named]) -> tuple[list[list[str]], list[str]]:
    exact: defaultdict[str, list[str]] = defaultdict(list)
    loose: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in marks:
        exact[name].append(path)
        plain = _MARK_START.sub(r"\1", MARK_END.sub("", name))
        if plain != name:
            loose[plain].append(path)
    in_any_case: defaultdict[str, list[str]] | None = None
    found: list[list[str]] = []
    folded: list[str] = []
    for name, _ in images:
        plain = _IMAGE.sub("", name)
        paths = exact.get(name) or loose.get(name) or loose.get(plain) or (exact.get(plain) if plain != name else None)
        if paths is None:
            if in_any_case is None:
                in_any_case = defaultdict(list)
                for table in (exact, loose):
                    for other, others in table.items():
                        in_any_case[other.casefold()].extend(others)
            paths = in_any_case.get(name.casefold())
            folded += paths or ()
        found.append(list(paths or ()))
    return found, folded
