"""Few-shot data made with a seed: each class is a colour and a pattern, each image varies them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("amber", "blue", "green")
HUES = {"amber": (220, 150, 30), "blue": (40, 60, 210), "green": (40, 180, 70), "violet": (150, 40, 190)}


def draw(path: Path, label: str, seed: int) -> None:
    """One image of a class."""
    generator = np.random.default_rng([seed, *label.encode()])
    pixels = generator.normal(np.array(HUES[label]), 25, (24, 24, 3))
    pixels[:: 2 + list(HUES).index(label)] *= 0.4
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def class_folders(root: Path, classes: Sequence[str] = CLASSES, *, images: int, first: int = 0) -> Path:
    """A folder for each class."""
    for label in classes:
        for number in range(first, first + images):
            draw(root / label / f"{label}{number}.png", label, number)
    return root


def category(root: Path, *, shots: Sequence[int] = (1, 5), queries: int = 6, unknown: int = 4) -> Path:
    """`2.support-set/Class_X/shotN` and `6.preprocessed/X`, with queries of a class that nobody knows."""
    for label in CLASSES:
        for shot in shots:
            for number in range(shot):
                draw(root / "2.support-set" / f"Class_{label}" / f"shot{shot}" / f"{number}.png", label, number)
        for number in range(queries):
            draw(root / "6.preprocessed" / label / f"{number}.png", label, 100 + number)
    for number in range(unknown):
        draw(root / "6.preprocessed" / "Unknown" / f"{number}.png", "violet", 100 + number)
    return root


def categories_of_one(root: Path, *, shots: int = 3, queries: int = 6) -> Path:
    """`CATEGORY/2.support-set/shotN` and `CATEGORY/6.preprocessed`: each category is a class."""
    for label in CLASSES:
        for number in range(shots):
            draw(root / label / "2.support-set" / f"shot{shots}" / f"{number}.png", label, number)
        for number in range(queries):
            draw(root / label / "6.preprocessed" / f"{label}-{number}.png", label, 100 + number)
    return root
