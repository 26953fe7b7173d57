"""The pictures of a data folder, and changes of their pixels, for the planters."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from plant import CannotPlant
from snellen.data.layouts import splits_of

__all__ = ["FEWEST", "few", "pictures", "repaint", "size_of", "stored_as"]

FEWEST = 8
"""Images of a set among which one can be unlike the others."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".bmp")
_NO_PICTURES = ("mask", "annot", "label", "field_of_view")
_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".bmp": "BMP",
}


def pictures(folder: Path) -> list[Path]:
    """Every image that is no mask, sorted."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
        and not path.name.startswith(".")
        and not any(word in part.lower() for part in path.relative_to(folder).parts[:-1] for word in _NO_PICTURES)
        and path.is_file()
    )


def few(
    folder: Path, rng: random.Random, fits: Callable[[Path], bool] | None = None, *, of_at_least: int = 1
) -> list[Path]:
    """One to three images of one split, at most a tenth of a split that has ten.

    Args:
        folder: A copy of a data folder.
        rng: Chooses them.
        fits: Which may be chosen.
        of_at_least: Images that the split must have.

    Raises:
        CannotPlant: None has as many.
    """
    everything = pictures(folder)
    sets = [
        [path for path in everything if path.is_relative_to(place)]
        for place in dict(splits_of(folder)).values() or [folder]
    ]
    fitting = [(len(found), [path for path in found if fits is None or fits(path)]) for found in sets]
    large = [(count, paths) for count, paths in fitting if count >= of_at_least and paths]
    if not large:
        raise CannotPlant(f"it has {len(everything)} images, of which {sum(len(paths) for _, paths in fitting)} fit")
    count, paths = rng.choice(large)
    return sorted(rng.sample(paths, min(len(paths), max(1, min(3, count // 10)))))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height as stored."""
    with Image.open(path) as image:
        return image.size


def stored_as(path: Path) -> str:
    """Pillow's name of the format that the suffix stands for."""
    return _FORMATS[path.suffix.lower()]


def repaint(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Change the pixels (float, 0 to 255, three channels) and store them in the format and mode that the file has."""
    with Image.open(path) as image:
        mode, picture = image.mode, np.asarray(image.convert("RGB"), np.float32)
    painted = Image.fromarray(np.clip(np.rint(change(picture)), 0, 255).astype(np.uint8))
    # One bit holds no shades: such a drawing becomes an 8-bit grey one.
    target = {"1": "L", "I;16": "L", "P": "RGB" if path.suffix.lower() == ".png" else "P"}.get(mode, mode)
    painted = painted.convert(target)
    painted.save(path, stored_as(path), **({"quality": 95} if stored_as(path) == "JPEG" else {}))
    return path
