"""Handwritten digits of scikit-learn as class folders: real images that a tiny network learns in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

__all__ = ["make_digits"]


def make_digits(
    root: Path, sizes: dict[str, int], *, digits: tuple[int, ...] = (0, 1, 4, 7), side: int = 32, seed: int = 0
) -> None:
    """Folders `SPLIT/digit-N`, each image in one split only.

    Args:
        root: Is made.
        sizes: Images of each split.
        digits: Which classes.
        side: Side of the images, in pixels.
        seed: Of the choice.
    """
    data = load_digits()
    order = [int(i) for i in np.random.default_rng(seed).permutation(len(data.images)) if data.target[i] in digits]
    for split, size in sizes.items():
        chosen, order = order[:size], order[size:]
        for index in chosen:
            folder = root / split / f"digit-{data.target[index]}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = (data.images[index] * 15.9).astype(np.uint8)
            Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{index:04d}.png")
