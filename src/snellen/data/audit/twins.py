"""Images that show the same: equal files, equal pixels, nearly the same, parts of each other.

Near ones are looked for by their fingerprints, kept when their signatures are alike, and believed when their details
agree (`pairing`, `fingerprints`, `verifying`). Of a group of images that all show the same, not every pair is told but
enough to join it: within images of one folder, role and group; and between two such each image's nearest.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from snellen.core.facts.data import FolderAudit, ImageRecord, Twin
from snellen.data.audit.cache import AuditCache
from snellen.data.audit.crops import find_crops
from snellen.data.audit.fingerprints import (
    MIRROR,
    SIGNATURE,
    bits_apart,
    fine_likeness,
    likeness,
    mirrored_signatures,
    steps_of,
)
from snellen.data.audit.joining import Joined
from snellen.data.audit.pairing import close_pairs
from snellen.data.audit.verifying import Details

__all__ = ["MAX_DETAILED", "MAX_DETAILED_BYTES", "Image", "exact_twins", "find_twins", "near_twins"]

MAX_DETAILED: Final = 40_000
"""Pictures that are read again to compare their details, at most; the nearest pairs come first."""
MAX_DETAILED_BYTES: Final = 400_000_000
"""Size of the files that are read again, all together: 4,000 frames of 100 kB."""

_METHOD: Final = b"2"
"""Counts up when other images are told to be twins: then answers that were kept no longer count."""
_ALIKE = 0.88
_ALIKE_FINE = 0.68
_RATIO = 1.12
"""By how much sides may be out of proportion: a twin that was stretched to a square is another picture to a network."""
_SMALLEST = 16
"""Pixels of the shorter side under which pictures are alike by chance."""
_FULL = 22
_TRIES = 6
"""Candidates of one image whose details disagree before no more are tried."""
_PORTION = 8_192
"""Pairs whose signatures are compared at once: about 50 MB."""
_MAX_CANDIDATES = 1_000_000
"""Pairs that are kept, the nearest: many more than are looked at again."""

Tell = Callable[[str, int, int], None]
_Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Image:
    """An image among which twins are looked for.

    Args:
        record: As it was measured.
        part: What it belongs to: between images of two parts twins are told even if both have others in their own.
    """

    record: ImageRecord
    part: Hashable = ""


def find_twins(
    audits: Sequence[FolderAudit], *, tell: Tell | None = None, cache: Path | None = None
) -> tuple[Twin, ...]:
    """Images of data folders that show the same, within and across the folders.

    A file that several folders hold counts once, for the first of them. Blurred frames and their sharp partners are no
    twins of each other; files that cannot be decoded are nobody's.

    Args:
        audits: The folders.
        tell: Is told how far it is.
        cache: Folder of what was measured before: the answer for the same images of the same content is kept there.
    """
    images = list(_images_of(audits))
    partners = {
        frozenset((sample.image, sample.partner)) for audit in audits for sample in audit.samples if sample.partner
    }
    asked = _digest_of(images, partners)
    with AuditCache(cache) as remembered:
        told = remembered.get("twins", asked)
        if told is not None:
            return tuple(Twin(*one) for one in json.loads(told))
    twins = _find(images, partners, tell or _say_nothing)
    with AuditCache(cache) as remembered:
        remembered.put("twins", asked, json.dumps([[one.one, one.other, one.kind, one.distance] for one in twins]))
    return twins


def _digest_of(images: Iterable[Image], partners: Iterable[frozenset[str]]) -> str:
    """Of everything that the answer rests on: which images, what they hold, what belongs together."""
    digest = hashlib.blake2b(digest_size=16, salt=_METHOD)
    for image in images:
        record = image.record
        shown = record.pixels.digest if record.pixels is not None else ""
        digest.update(repr((record.path, record.digest, shown, record.upright_size, image.part)).encode())
    digest.update(repr(sorted(sorted(pair) for pair in partners)).encode())
    return digest.hexdigest()


def _find(images: Sequence[Image], partners: set[frozenset[str]], tell: Tell) -> tuple[Twin, ...]:
    exact, apart = exact_twins(images)
    known = partners | {frozenset((twin.one, twin.other)) for twin in exact}
    near = near_twins(apart, known, tell=tell)
    known |= {frozenset((twin.one, twin.other)) for twin in near}
    crops = find_crops([image.record for image in apart], [image.part for image in apart], known, tell=tell)
    return (*exact, *near, *crops)


def _images_of(audits: Sequence[FolderAudit]) -> Iterator[Image]:
    seen: set[str] = set()
    for place, audit in enumerate(audits):
        kinds: dict[str, tuple[str, str]] = {}
        for sample in audit.samples:
            kinds.setdefault(sample.image, (sample.role, sample.group))
        for path, record in audit.images.items():
            # Empty files and error pages are equal as well, and show nothing.
            if path not in seen and not record.problem:
                seen.add(path)
                yield Image(record, (place, *kinds.get(path, ("partner", ""))))


def exact_twins(images: Sequence[Image]) -> tuple[list[Twin], list[Image]]:
    """Images of equal bytes and of equal pixels.

    Returns:
        The twins, each with the first of its kind in every part; and the images without those that are equal to an
        earlier one of their part. Pictures of one colour all have the same pixels and are equal by their bytes only.
    """
    twins: list[Twin] = []
    files: defaultdict[str, dict[Hashable, str]] = defaultdict(dict)
    pixels: defaultdict[tuple[object, ...], dict[Hashable, str]] = defaultdict(dict)
    equal_files = _repeated(image.record.digest for image in images)
    equal_pixels = _repeated(image.record.pixels.digest for image in images if image.record.pixels is not None)
    apart: list[Image] = []
    for image in images:
        record, found = image.record, False
        if record.digest in equal_files:
            first = files[record.digest]
            twins += [Twin(path, record.path, "same-file") for path in first.values()]
            found = image.part in first
            first.setdefault(image.part, record.path)
        shown = record.pixels
        if not found and shown is not None and shown.signature and shown.digest in equal_pixels:
            same = pixels[shown.digest, record.upright_size]
            twins += [
                Twin(path, record.path, "same-pixels")
                for path in same.values()
                if path not in files.get(record.digest, {}).values()
            ]
            found = image.part in same
            same.setdefault(image.part, record.path)
        if not found:
            apart.append(image)
    return twins, apart


def _repeated(digests: Iterable[str]) -> set[str]:
    """Those that come more than once; `""` stands for unknown ones."""
    seen, again = set[str](), set[str]()
    for digest in digests:
        (again if digest in seen else seen).add(digest)
    return again - {""}


def near_twins(
    images: Sequence[Image], partners: Iterable[frozenset[str | None]] = (), *, tell: Tell | None = None
) -> list[Twin]:
    """Images that show nearly the same: scaled, compressed, brightened, mirrored, retouched, the next frame.

    Args:
        images: No two of a part of equal pixels.
        partners: Pairs that are known to be something else: equal ones, a blurred frame and its sharp one.
        tell: Is told how far it is.
    """
    tell = tell or _say_nothing
    known = [
        image
        for image in images
        if image.record.pixels is not None
        and image.record.pixels.signature
        and min(image.record.height, image.record.width) >= _SMALLEST
    ]
    if len(known) < 2:
        return []
    candidates = _candidates(known, tell)
    return _believed(known, candidates, set(partners), tell)


def _candidates(images: Sequence[Image], tell: Tell) -> Iterator[tuple[int, int, int, bool]]:
    """Bits, places and whether mirrored of all pairs whose signatures are alike, the nearest first."""
    words, signatures, ratios = _tables(images)
    nearest = _Nearest()
    for mirrored in (False, True):
        turned = words ^ np.uint64(MIRROR) if mirrored else words
        pairs = chain(close_pairs(words, turned), _patched_pairs(signatures, mirrored=mirrored))
        for portion in _portions(pairs):
            tell("comparing images", 0, 0)
            one, other = _in_proportion(*portion, ratios)
            for alike, least in ((likeness, _ALIKE), (fine_likeness, _ALIKE_FINE)):
                shown = mirrored_signatures(signatures[one]) if mirrored else signatures[one]
                kept = alike(shown, signatures[other]) >= least
                one, other = one[kept], other[kept]
            nearest.add(one, other, bits_apart(turned[one], words[other]), mirrored=mirrored)
    return nearest.pairs()


class _Nearest:
    """Pairs, each once; of more than `_MAX_CANDIDATES` the nearest. In arrays: they may be millions."""

    def __init__(self) -> None:
        self._kept: list[tuple[_Pairs, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]] = []
        self._waiting = 0

    def add(self, one: _Pairs, other: _Pairs, bits: npt.NDArray[np.uint8], *, mirrored: bool) -> None:
        self._kept.append((one << np.int64(32) | other, bits, np.full(len(one), mirrored)))
        self._waiting += len(one)
        if self._waiting > _MAX_CANDIDATES:
            self._thin_out()

    def _thin_out(self) -> None:
        codes, bits, mirrored = (np.concatenate([kept[part] for kept in self._kept]) for part in range(3))
        order = np.lexsort((mirrored, bits, codes))
        # The first of each pair is its nearest.
        order = order[np.diff(codes[order], prepend=-1) != 0]
        order = order[np.argsort(bits[order], kind="stable")][:_MAX_CANDIDATES]
        self._kept, self._waiting = [(codes[order], bits[order], mirrored[order])], 0

    def pairs(self) -> Iterator[tuple[int, int, int, bool]]:
        """Bits, places and whether mirrored, the nearest first."""
        if not self._kept:
            return
        self._thin_out()
        codes, bits, mirrored = self._kept[0]
        for start in range(0, len(codes), _PORTION):
            some = slice(start, start + _PORTION)
            places = (codes[some] >> np.int64(32)).tolist(), (codes[some] & np.int64(2**32 - 1)).tolist()
            yield from zip(bits[some].tolist(), *places, mirrored[some].tolist(), strict=True)


def _patched_pairs(
    signatures: npt.NDArray[np.int8], *, mirrored: bool
) -> Iterator[tuple[_Pairs, _Pairs, npt.NDArray[np.uint8]]]:
    """Pairs that agree in most places, of pictures with something to compare in most places: no drawings on white."""
    steps = _steps(signatures, mirrored=False)
    ones = bits_apart(steps, np.zeros_like(steps))
    full = np.flatnonzero((ones >= _FULL) & (ones <= 64 - _FULL))
    others = _steps(signatures, mirrored=True)[full] if mirrored else steps[full]
    for one, other, bits in close_pairs(steps[full], others):
        yield full[one], full[other], bits


def _steps(signatures: npt.NDArray[np.int8], *, mirrored: bool) -> npt.NDArray[np.uint64]:
    found = np.empty(len(signatures), np.uint64)
    for start in range(0, len(signatures), _PORTION):
        some = signatures[start : start + _PORTION]
        found[start : start + _PORTION] = steps_of(mirrored_signatures(some) if mirrored else some)
    return found


def _in_proportion(one: _Pairs, other: _Pairs, ratios: npt.NDArray[np.float32]) -> tuple[_Pairs, _Pairs]:
    kept = np.abs(ratios[one] - ratios[other]) <= np.log(_RATIO)
    return one[kept], other[kept]


def _tables(
    images: Sequence[Image],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    words = np.empty(len(images), np.uint64)
    signatures = np.empty((len(images), SIGNATURE), np.int8)
    ratios = np.empty(len(images), np.float32)
    for place, image in enumerate(images):
        if image.record.pixels is not None:
            words[place] = image.record.pixels.fingerprint
            signatures[place] = np.frombuffer(image.record.pixels.signature, np.int8)
        height, width = image.record.upright_size
        ratios[place] = height / width
    return words, signatures, np.log(ratios)


def _portions(
    pairs: Iterable[tuple[_Pairs, _Pairs, npt.NDArray[np.uint8]]],
) -> Iterator[tuple[_Pairs, _Pairs]]:
    """The same pairs in portions of at most `_PORTION`."""
    waiting: list[tuple[_Pairs, _Pairs]] = []
    count = 0
    for one, other, _ in pairs:
        waiting.append((one, other))
        count += len(one)
        if count >= _PORTION:
            yield from _joined(waiting)
            waiting, count = [], 0
    if waiting:
        yield from _joined(waiting)


def _joined(portions: Sequence[tuple[_Pairs, _Pairs]]) -> Iterator[tuple[_Pairs, _Pairs]]:
    one, other = (np.concatenate([portion[part] for portion in portions]) for part in range(2))
    codes = np.unique(one << np.int64(32) | other)
    for start in range(0, len(codes), _PORTION):
        some = codes[start : start + _PORTION]
        yield some >> np.int64(32), some & np.int64(2**32 - 1)


def _believed(
    images: Sequence[Image],
    candidates: Iterable[tuple[int, int, int, bool]],
    partners: set[frozenset[str | None]],
    tell: Tell,
) -> list[Twin]:
    twins: list[Twin] = []
    details = Details()
    joined = Joined([image.part for image in images])
    failed: defaultdict[int, int] = defaultdict(int)
    for count, (bits, one, other, mirrored) in enumerate(candidates):
        if failed[one] >= _TRIES or failed[other] >= _TRIES or not joined.needs(one, other):
            continue
        paths = images[one].record.path, images[other].record.path
        if frozenset(paths) in partners:
            continue
        if details.read >= MAX_DETAILED or details.read_bytes >= MAX_DETAILED_BYTES:
            break
        tell("comparing images", count, 0)
        if not details.agree(*paths, mirrored=mirrored):
            failed[one] += 1
            failed[other] += 1
            continue
        twins.append(Twin(*paths, "near", bits))
        joined.join(one, other)
    return twins


def _say_nothing(_what: str, _done: int, _total: int) -> None:
    pass
