"""Photographs that come with scikit-image and scikit-learn: found on disk, never fetched."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from snellen.errors import MissingExtraError

__all__ = ["HELD_OUT", "TRAINING", "copy_photos", "shown"]

TRAINING = (
    ("skimage", "data/astronaut.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/hubble_deep_field.jpg"),
    ("skimage", "data/ihc.png"),
    ("skimage", "data/retina.jpg"),
)
"""Package and file of the photos that forgeries to train on are made from."""

HELD_OUT = (
    ("skimage", "data/chelsea.png"),
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/coins.png"),
    ("skimage", "data/camera.png"),
)
"""Photos that no network sees in training."""


def copy_photos(photos: tuple[tuple[str, str], ...], folder: Path) -> list[Path]:
    """Copy photos into a folder.

    Raises:
        MissingExtraError: A package that holds them is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copied = []
    for package, name in photos:
        specification = importlib.util.find_spec(package)
        places = list(specification.submodule_search_locations or ()) if specification else []
        source = next((Path(place, name) for place in places if Path(place, name).is_file()), None)
        if source is None:
            raise MissingExtraError(f"the photo {name} of {package} is not there", hint="pip install 'snellen[demo]'")
        copied.append(Path(shutil.copyfile(source, folder / source.name)))
    return copied


def shown(path: Path) -> str:
    """A path as a person in the current folder would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
