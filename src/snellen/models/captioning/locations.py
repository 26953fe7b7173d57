"""Places in an answer of Florence-2: `<loc_0>` to `<loc_999>` into boxes and corners in pixels.

A coordinate is one of 1000 bins of its side; a bin stands for its middle. `cat<loc_10><loc_20><loc_500><loc_600>` is a
box, more of them after one phrase are more boxes of it, and eight places after a line of text are its four corners.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["BINS", "Kind", "Region", "clean_text", "parse_regions", "pixels_of"]

BINS: Final = 1000
"""Of a side."""

Kind = Literal["text", "boxes", "bare-boxes", "quads"]
"""What an answer holds: text alone, phrases with boxes, boxes alone, text with four corners."""

_MARKS: Final = ("<s>", "</s>", "<pad>")
_PLACES: Final = r"(?:<loc_\d+>)"
_PLACE: Final = re.compile(r"<loc_(\d+)>")
# A phrase begins where the last place ended; without that, a long answer would be tried from each of its letters.
_PHRASE: Final = re.compile(rf"(?<![^<>])([^<]++)({_PLACES}{{4,}})")
_BARE: Final = re.compile(rf"{_PLACES}{{4,}}")
_CORNERS: Final = re.compile(rf"{_PLACES}{{8,}}")
_QUAD: Final = re.compile(rf"(.+?)({_PLACES}{{8}})")


@dataclass(frozen=True, slots=True)
class Region:
    """A place in a picture.

    Args:
        label: Phrase or text; `""` where there is none.
        points: x and y in turn, in pixels: two corners of a box, or four of a quadrilateral.
    """

    label: str
    points: tuple[float, ...]


def clean_text(text: str) -> str:
    """An answer without the marks of beginning, end and padding.

    Example:
        >>> clean_text("</s><s>a cat</s><pad>")
        'a cat'
    """
    for mark in _MARKS:
        text = text.replace(mark, "")
    return text.strip()


def parse_regions(text: str, kind: Kind, size: tuple[int, int], *, banned: Collection[str] = ()) -> tuple[Region, ...]:
    """The regions of an answer.

    Args:
        text: As decoded, special tokens included.
        kind: What it holds.
        size: `(width, height)` of the picture, in pixels.
        banned: Phrases that are no things: `it`, `the image`.

    Example:
        >>> parse_regions("cat<loc_0><loc_0><loc_499><loc_999>", "boxes", (200, 100))
        (Region(label='cat', points=(0.1, 0.05, 99.9, 99.95)),)
    """
    for mark in _MARKS:
        text = text.replace(mark, "")
    if kind == "text":
        return ()
    if kind == "quads":
        return tuple(region for line in text.split("\n") for region in _quads(line, size))
    if kind == "bare-boxes":
        return tuple(box for match in _BARE.finditer(text) for box in _boxes("", match[0], size))
    return tuple(
        box
        for match in _PHRASE.finditer(text)
        if (label := match[1].strip()) not in banned
        for box in _boxes(label, match[2], size)
    )


def pixels_of(bins: tuple[int, ...], size: tuple[int, int]) -> tuple[float, ...]:
    """Coordinates in pixels: the middles of their bins.

    Args:
        bins: x and y in turn.
        size: `(width, height)` of the picture.

    Example:
        >>> pixels_of((0, 999), (1000, 500))
        (0.5, 499.75)
    """
    return tuple(round((min(place, BINS - 1) + 0.5) * size[number % 2] / BINS, 4) for number, place in enumerate(bins))


def _quads(line: str, size: tuple[int, int]) -> list[Region]:
    ends = [match.end() for match in _CORNERS.finditer(line)]
    # What comes after the last corners has none, and need not be searched for them from each of its letters.
    found = _QUAD.finditer(line, 0, ends[-1]) if ends else ()
    return [Region(match[1].strip(), pixels_of(_bins(match[2]), size)) for match in found]


def _bins(text: str) -> tuple[int, ...]:
    # Cut to four digits: a number of a thousand digits is no place, and would take its time.
    return tuple(int(match[1][:4]) for match in _PLACE.finditer(text))


def _boxes(label: str, places: str, size: tuple[int, int]) -> list[Region]:
    bins = _bins(places)
    return [Region(label, pixels_of(bins[start : start + 4], size)) for start in range(0, len(bins) - 3, 4)]
