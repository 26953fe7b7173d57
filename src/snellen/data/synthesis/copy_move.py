"""A folder of authentic photos to a folder of forgeries with their truth: repeatable, resumable, order-free."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from snellen.core.files import append_json_line, plain, read_json_lines
from snellen.data.listing import find_images, hash_file_list, name_some
from snellen.data.reading import read_image
from snellen.data.synthesis.forging import synthesise
from snellen.data.synthesis.settings import CopiedRegion, CopyMoveSettings, PostProcessing, SyntheticForgery
from snellen.data.writing import make_folder, write_png
from snellen.errors import DataError

__all__ = [
    "CopiedRegion",
    "CopyMoveSettings",
    "PostProcessing",
    "SynthesisReport",
    "SyntheticForgery",
    "synthesise",
    "synthesise_folder",
]

Track = Callable[[Sequence[int]], Iterable[int]]
"""Goes through the numbers it is given, showing progress if it likes."""

_FOLDERS = ("forged", "masks", "masks_source", "masks_target", "authentic")


@dataclass(frozen=True, slots=True)
class SynthesisReport:
    """What `synthesise_folder` did.

    Args:
        forged: Forged images in the folder now.
        authentic: Authentic images in the folder now.
        kept: How many of both were there from an earlier run.
        unusable: Photos that could not be used, with the reason.
    """

    forged: int
    authentic: int
    kept: int
    unusable: tuple[tuple[Path, str], ...]


def synthesise_folder(
    photos: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    count: int,
    seed: int = 0,
    settings: CopyMoveSettings | None = None,
    authentic_fraction: float = 0.3,
    track: Track | None = None,
) -> SynthesisReport:
    """Make `count` images from authentic photos, in the layout that `snellen.data.layouts.forged_masks.discover` reads.

    Written are `forged/`, `masks/` (source and target), `masks_source/`, `masks_target/`, `authentic/` and
    `manifest.jsonl`: its first line tells seed, settings and photos, each other line one image with its photo,
    transforms, processing and difficulty. Image number `i` depends on the photos, the settings and `(seed, i)` alone,
    so a folder that was interrupted is finished by the same call, and one made larger keeps what it has. Photos that
    cannot be used are passed over for the next one and reported.

    Args:
        photos: Folder, files or patterns.
        out: The new folder; one that exists must be from the same seed, settings and photos.
        count: Number of images, authentic ones included.
        seed: Whole number from 0.
        settings: Ranges to draw from.
        authentic_fraction: Share of images without a forgery, processed alike, 0 to 1; spread evenly.
        track: Goes through the image numbers, to show progress; see `snellen.report.progress.track`.

    Raises:
        DataError: No photo (slug `empty-dataset`), none that can be used, or `out` holds other data.
        RunFolderError: `out` cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_png(folder / "noise.png", np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8))
        >>> report = synthesise_folder(folder, folder / "made", count=4, authentic_fraction=0.5)
        >>> report.forged, report.authentic, sorted(entry.name for entry in (folder / "made" / "forged").iterdir())
        (2, 2, ['noise_copy00000.png', 'noise_copy00002.png'])
    """
    if count < 1 or not 0 <= authentic_fraction <= 1 or seed < 0:
        raise DataError(
            f"count {count}, seed {seed} and share {authentic_fraction}: expected 1 or more, 0 or more, 0 to 1"
        )
    files = find_images(photos).files
    settings = settings or CopyMoveSettings()
    out = Path(out)
    done = _resume(out, _header(files, seed, settings, authentic_fraction))
    maker = _Maker(files, seed, settings)
    counts = {True: 0, False: 0}
    kept = 0
    for index in (track or iter)(range(count)):
        forged = not _is_authentic(index, authentic_fraction)
        if index in done and all((out / name).is_file() for name in done[index]):
            kept += 1
        else:
            photo, forgery = maker.make(index, forged=forged)
            _write(out, index, photo, forgery)
        counts[forged] += 1
    return SynthesisReport(counts[True], counts[False], kept, tuple(maker.unusable.items()))


class _Maker:
    """Photos and a seed; remembers which photos are of no use and keeps the last few decoded."""

    def __init__(self, files: Sequence[Path], seed: int, settings: CopyMoveSettings) -> None:
        self._files = files
        self._seed = seed
        self._settings = settings
        self._read = lru_cache(maxsize=16)(_read_pixels)
        self.unusable: dict[Path, str] = {}

    def make(self, index: int, *, forged: bool) -> tuple[Path, SyntheticForgery]:
        """Every photo has its turn before one comes again; each round in another order."""
        turn, place = divmod(index, len(self._files))
        order = np.random.default_rng((self._seed, 1, turn)).permutation(len(self._files))
        for number in np.roll(order, -place).tolist():
            photo = self._files[number]
            try:
                pixels = self._read(photo)
                seed = (self._seed, 0, index)
                return photo, synthesise(pixels, seed=seed, settings=self._settings, forged=forged)
            except DataError as error:
                self.unusable.setdefault(photo, error.message)
        reasons = name_some((f"{path.name}: {reason}" for path, reason in self.unusable.items()), limit=3)
        raise DataError(
            f"none of {len(self._files)} photos can be used ({reasons})",
            hint="photos need at least 48 pixels each way and some texture",
            slug="empty-dataset",
        )


def _read_pixels(photo: Path) -> npt.NDArray[np.uint8]:
    return read_image(photo).pixels


def _is_authentic(index: int, fraction: float) -> bool:
    return int((index + 1) * fraction + 1e-9) > int(index * fraction + 1e-9)


def _header(files: Sequence[Path], seed: int, settings: CopyMoveSettings, fraction: float) -> dict[str, Any]:
    root = files[0].parent
    photos = {"count": len(files), "sha256": hash_file_list(files, root=root)}
    drawn = {"seed": seed, "authentic_fraction": fraction, "settings": dataclasses.asdict(settings), "photos": photos}
    return {"kind": "copy-move", "format": 1} | {key: plain(value) for key, value in drawn.items()}


def _resume(out: Path, header: dict[str, Any]) -> dict[int, list[str]]:
    """Files of the images that are there already, by number."""
    for name in _FOLDERS:
        make_folder(out / name)
    manifest = out / "manifest.jsonl"
    records = list(read_json_lines(manifest))
    if not records:
        if any(next((out / name).iterdir(), None) is not None for name in _FOLDERS):
            raise DataError(f"{out} holds images that were not made here", hint="choose a new folder")
        append_json_line(manifest, header)
        return {}
    different = sorted(key for key in header if records[0].get(key) != header[key])
    if different:
        raise DataError(
            f"{out} was made from another {' and '.join(different)}",
            hint="choose a new folder, or repeat the settings it was made with",
        )
    return {int(record["index"]): list(record["files"]) for record in records[1:] if "index" in record}


def _write(out: Path, index: int, photo: Path, forgery: SyntheticForgery) -> None:
    name = f"{photo.stem}_copy{index:05d}.png"
    pictures: dict[str, npt.NDArray[Any]] = {f"authentic/{name}": forgery.image}
    if forgery.copies:
        masks = {"masks": forgery.mask, "masks_source": forgery.source, "masks_target": forgery.target}
        pictures = {f"{folder}/{name}": mask for folder, mask in masks.items()} | {f"forged/{name}": forgery.image}
    for place, pixels in pictures.items():
        write_png(out / place, pixels)
    record = {
        "index": index,
        "files": sorted(pictures),
        "photo": photo.name,
        "forged": bool(forgery.copies),
        "size": list(forgery.image.shape[:2]),
        "difficulty": round(forgery.difficulty, 4),
        "shape": forgery.shape,
        "copies": [dataclasses.asdict(copy) | {"transform": copy.transform.tolist()} for copy in forgery.copies],
        "processing": dataclasses.asdict(forgery.processing),
    }
    append_json_line(out / "manifest.jsonl", record)
