"""What a picture was taken from, as far as its name says so: the frames of a video, the crops of a photo, a patient."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from snellen.core.facts.data import Sample
from snellen.data.layouts.tree import stem_of

__all__ = ["frame_of", "source_of", "with_sources"]

# Exports of augmented copies carry the name of the photo, then a hash.
_EXPORTED = re.compile(r"^(.+?)[_.](?:jpe?g|png|bmp|tiff?|webp)\.rf\.[0-9a-f]{8,}$", re.IGNORECASE)
_PATIENT = re.compile(
    r"(?<![a-z0-9])((?:patient|subject|subj|sub|case|donor|mouse|volume|study)[_-]?\d+)(?![a-z0-9])", re.IGNORECASE
)
_PART = re.compile(
    r"^(.+?)[_-](?:(?:crop|patch|tile|aug|augmented)(?:[_-]?\d+)+|flip|flipped|rotated|rot\d+)$", re.IGNORECASE
)
_FRAME = re.compile(r"^(.*?)[_-]?(?:key_?id|frame|img|f)?[_-]?(\d+)$", re.IGNORECASE)
_SEPARATED_FRAME = re.compile(r"^(.*\d.*?)[_-](?:key_?id|frame)?[_-]?(\d{2,})$", re.IGNORECASE)
_DATE = re.compile(r"(?:19|20)\d{6}")


def frame_of(stem: str) -> tuple[str, int] | None:
    """The name before a trailing number, and the number; of names that are known to be frames.

    Example:
        >>> frame_of("00012"), frame_of("walk_frame_0003"), frame_of("cover")
        (('', 12), ('walk', 3), None)
    """
    found = _FRAME.match(stem)
    # Longer runs of digits are times or hashes, not numbers of frames.
    return (found[1], int(found[2])) if found and found[2].isascii() and len(found[2]) <= 12 else None


def source_of(path: str) -> tuple[str, int | None]:
    """What an image was taken from and its number therein, `("", None)` where its name does not say so.

    Only names that hardly mean anything else are taken: a number behind letters alone (`raccoon-60`, `IMG_0001`) counts
    the pictures of a set, not the frames of a video.

    Example:
        >>> source_of("camvid/0016E5_08190.png"), source_of("raccoon-60.jpg"), source_of("x/patient_07/a.png")
        (('0016E5', 8190), ('', None), ('patient_07', None))
        >>> source_of("train/street_png.rf.0123456789abcdef.jpg")
        ('street', None)
    """
    folder, _, name = path.rpartition("/")
    stem = stem_of(name)
    if found := _EXPORTED.match(stem):
        return found[1], None
    if found := _PATIENT.search(stem) or _PATIENT.search(folder.rpartition("/")[2]):
        return found[1], None
    if found := _PART.match(stem):
        return found[1], None
    found = _SEPARATED_FRAME.match(stem)
    if found and not _DATE.search(found[1]) and len(found[2]) <= 9:
        return found[1], int(found[2])
    return "", None


def with_sources(samples: Sequence[Sample]) -> list[Sample]:
    """Samples with `group` and `index` by their names, where the names of a set bear it out.

    A group that is all of a class says nothing; nor do numbers that make every image a group of its own.
    """
    found = [source_of(sample.image) for sample in samples]
    members: defaultdict[str, list[int]] = defaultdict(list)
    sizes: defaultdict[str | None, int] = defaultdict(int)
    for number, (sample, (group, _)) in enumerate(zip(samples, found, strict=True)):
        sizes[sample.label] += 1
        if group:
            members[group].append(number)
    numbered = {group for group, index in found if group and index is not None}
    telling = any(len(members[group]) > 1 for group in numbered)
    dropped = set() if telling else set(numbered)
    for group, numbers in members.items():
        labels = {samples[number].label for number in numbers}
        label = next(iter(labels)) if len(labels) == 1 else None
        if label is not None and len(numbers) > 1 and sizes[label] == len(numbers):
            dropped.add(group)
    return [
        replace(sample, group=group, index=index) if group and group not in dropped else sample
        for sample, (group, index) in zip(samples, found, strict=True)
    ]
