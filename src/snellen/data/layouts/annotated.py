"""Images with a file of boxes each: what pairs them, reads the files, and tells of those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from snellen.core.facts.data import ListingKind, ListingProblem, Sample
from snellen.data.layouts.pairing import pair
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.sides import Side
from snellen.errors import DataError

__all__ = ["MAX_BYTES", "Failed", "marks_of", "read_annotated", "read_bounded"]

MAX_BYTES: Final = 16 * 1024**2
"""A larger file is no annotation of one image."""

Failed = list[tuple[ListingKind, str]]
"""Annotations that do not fit: what they are counted as, and the path."""


def read_bounded(path: str) -> bytes:
    """The content of an annotation file.

    Raises:
        DataError: It cannot be read, or is larger than `MAX_BYTES`.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{shown(path)}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise DataError(f"{shown(path)}: larger than {MAX_BYTES // 1024**2} MiB")
    return raw


def read_annotated(
    sides: Sequence[Side], mark: str, read: Callable[[str, str, Failed], Sample], kinds: Mapping[ListingKind, str]
) -> tuple[list[Sample], list[ListingProblem]]:
    """Read the annotation of every image.

    Args:
        sides: Folders of images and of annotations.
        mark: What an annotation is called in messages.
        read: Makes a sample of an image and its annotation; notes what does not fit. May raise `DataError`.
        kinds: What can be noted, to what is said of such annotations after their number.

    Returns:
        A sample of every image, without boxes where there is no annotation to be read; and what does not fit.
    """
    samples: list[Sample] = []
    problems: list[ListingProblem] = []
    failed: Failed = []
    unreadable: list[str] = []
    reason = ""
    for side in sides:
        pairs = pair(side.images, side.marks, mark=mark, where=shown(side.where))
        problems += pairs.problems
        for image, marks in pairs.found:
            sample = Sample(image, boxes=None)
            if marks:
                try:
                    sample = read(image, marks[0], failed)
                except DataError as error:
                    unreadable.append(marks[0])
                    reason = reason or error.message.removeprefix(f"{shown(marks[0])}: ")
            samples.append(sample)
    # Braces stand for verbs in these sentences.
    why = reason.replace("{", "(").replace("}", ")")
    problems += counted("annotation-unreadable", unreadable, len(samples), f"{mark}s cannot be read ({why})")
    for kind, said in kinds.items():
        paths = [path for name, path in failed if name == kind]
        problems += counted(kind, paths, len(samples), f"{mark}s {said}")
    return samples, problems


def marks_of(sides: Sequence[Side]) -> Iterator[str]:
    """The paths of all annotations."""
    return (path for side in sides for _, path in side.marks)
