"""What rules about images have in common: records of a folder, and how far one image is from the rest of its set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeAlias

from snellen.core.audits import file_evidence, listed, share, short
from snellen.core.facts.data import FolderAudit, ImageRecord, Pixels
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import NotApplicable, Plan, setting_place

__all__ = [
    "FEW",
    "FEWEST",
    "Measured",
    "Spread",
    "image_finding",
    "image_folders",
    "is_blank",
    "log_spread",
    "measured",
    "nearly_lost",
    "opened",
    "pixel_findings",
    "seen",
    "set_side",
    "spread",
    "unusually_low",
]

FEW: Final = 0.2
"""Share of a set up to which images count as exceptions in it; above, the set itself is like that."""

FEWEST: Final = 8
"""Images that a set must have before one of them can be called unlike the others."""

_MAD = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""

_LOST = 1 / 16
"""Brightness, or distance to white, under which an 8-bit image has 16 levels left: 4 of its 8 bits."""
_UNLIKE = -3.5
_UNLIKE_LOST = -3.0
"""What is lost by itself need not be as unlike the others as what is only dim."""

Measured: TypeAlias = tuple[ImageRecord, Pixels]
"""An image and what was measured of its pixels."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of a set's values and how far they usually lie from it.

    Args:
        middle: Their median.
        width: Their scaled median absolute deviation, at least the floor that was asked for.
        logarithmic: Whether ratios count, not differences.
    """

    middle: float
    width: float
    logarithmic: bool = False

    def score(self, value: float) -> float:
        """How many widths a value lies above (or, negative, below) the middle."""
        return (_log(value) - _log(self.middle) if self.logarithmic else value - self.middle) / self.width


def spread(values: Sequence[float], floor: float) -> Spread | None:
    """Where values lie, robustly; `None` for fewer than `FEWEST`.

    Args:
        values: One for each image.
        floor: Smallest width: a set of equal images must not make every small difference an exception.

    Example:
        >>> spread([1, 2, 3, 4, 5, 6, 7, 100], floor=0.5).score(100) > 10
        True
    """
    if len(values) < FEWEST:
        return None
    middle = median(values)
    return Spread(middle, max(_MAD * median(abs(value - middle) for value in values), floor))


def log_spread(values: Sequence[float], floor: float) -> Spread | None:
    """As `spread`, of ratios: a floor of 0.2 stands for 20%."""
    logs = spread([_log(value) for value in values], floor)
    return Spread(math.exp(logs.middle), logs.width, logarithmic=True) if logs is not None else None


def _log(value: float) -> float:
    return math.log(max(value, 1e-5))


def image_folders(plan: Plan) -> Sequence[FolderAudit]:
    """The data folders of a run that hold at least one image.

    Raises:
        NotApplicable: There is none.
    """
    folders: Sequence[FolderAudit] = plan.fact("audit")
    found = [folder for folder in folders if folder.images]
    if not found:
        raise NotApplicable("no data folder holds an image")
    return found


def opened(folder: FolderAudit) -> Iterator[ImageRecord]:
    """Images that can be opened."""
    return (record for record in folder.images.values() if not record.problem and record.height and record.width)


def measured(folder: FolderAudit) -> Iterator[Measured]:
    """Images whose pixels were measured."""
    return ((record, record.pixels) for record in opened(folder) if record.pixels is not None)


def is_blank(pixels: Pixels) -> bool:
    """Whether an image is of one colour, but for the noise of compression: at most 2 of 255 levels apart.

    Example:
        >>> is_blank(Pixels(0.5, 0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0))
        True
    """
    return pixels.deviation <= 1 / 255 and pixels.high - pixels.low <= 2.1 / 255


def unusually_low(
    images: Iterable[Measured], value: Callable[[Pixels], float], usual: Spread, bound: float, unlike: float
) -> list[tuple[float, str]]:
    """Value and path of the images that lie low both by themselves and within their set, the lowest first.

    Args:
        images: The set.
        value: What is compared.
        usual: Where the values of the set lie.
        bound: Under which an image must lie, whatever its set.
        unlike: Widths below the middle at which it must lie, negative.
    """
    values = ((value(pixels), record.path) for record, pixels in images)
    return sorted((found, path) for found, path in values if found < bound and usual.score(found) < unlike)


def nearly_lost(
    images: Sequence[Measured], value: Callable[[Pixels], float], bound: float
) -> tuple[list[tuple[float, str]], Spread | None]:
    """Images that are nearly black, or nearly white, unlike the others.

    Args:
        images: The set.
        value: Brightness that the image stays under; or its distance to white.
        bound: Under which an image can count. One that is lost by itself counts in a small set, too, and when it is
            somewhat less unlike the others.

    Returns:
        Value and path of each, the worst first; and where the values of the set lie, `None` for a small one.
    """
    usual = log_spread([value(pixels) for _, pixels in images], 0.2)
    if usual is None:
        return sorted((value(pixels), record.path) for record, pixels in images if value(pixels) < _LOST), None
    dim = unusually_low(images, value, usual, bound, _UNLIKE)
    return sorted({*dim, *unusually_low(images, value, usual, _LOST, _UNLIKE_LOST)}), usual


def set_side(folder: FolderAudit) -> float:
    """Median of the shorter sides, in pixels; 0 when nothing can be opened."""
    sides = [min(record.height, record.width) for record in opened(folder)]
    return float(median(sides)) if sides else 0.0


def seen(folder: FolderAudit, count: int, *, pixels: bool = False) -> str:
    """How many images of how many, and how many of them were looked at that closely.

    Args:
        folder: The folder.
        count: How many.
        pixels: Whether their pixels had to be measured to know.

    Example:
        >>> seen(FolderAudit("data.train", "train", "flat", images={"a": ImageRecord("a", 1)}), 1)
        '1 of 1 (100%) images'
    """
    total = len(folder.images)
    if not pixels or folder.measured >= total:
        return f"{share(count, total)} images"
    return f"{share(count, folder.measured)} images measured (of {total})"


def image_finding(
    plan: Plan,
    folder: FolderAudit,
    slug: str,
    level: Level,
    message: str,
    files: Iterable[tuple[str, str]],
    fix: str,
) -> Finding:
    """A finding about some images of a folder.

    Args:
        plan: The run.
        folder: Where the images are.
        slug: The rule.
        level: How bad it is.
        message: A sentence about them; the folder's key and the first names are added.
        files: Path and what was seen, the worst first.
        fix: What to do.
    """
    files = list(files)
    names = listed([short(path) for path, _ in files])
    return Finding(
        slug,
        level,
        f"{folder.key}: {message}: {names}" if files else f"{folder.key}: {message}",
        setting_place(plan, folder.key),
        file_evidence(files),
        Fix(fix),
    )


def pixel_findings(
    plan: Plan, slug: str, judge: Callable[[FolderAudit], Sequence[tuple[str, str]]], said: str, fix: str
) -> Iterator[Finding]:
    """A warning for each folder that holds images whose pixels show a fault.

    Args:
        plan: The run.
        slug: The rule.
        judge: Path of each such image of a folder and what was measured of it, the worst first.
        said: What they are, after their number.
        fix: What to do.

    Raises:
        NotApplicable: No folder holds an image.
    """
    for folder in image_folders(plan):
        files = judge(folder)
        if files:
            message = f"{seen(folder, len(files), pixels=True)} {said}"
            yield image_finding(plan, folder, slug, Level.WARNING, message, files, fix)
