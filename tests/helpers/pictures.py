"""Small pictures on disk for tests that need many files, made from a fixed seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["make_pictures"]


def make_pictures(folder: Path, count: int, *, seed: int = 0, size: tuple[int, int] = (40, 32)) -> list[Path]:
    """Colourful noise over a ramp, one PNG each; every picture differs."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    width, height = size
    paths = []
    for index in range(count):
        ramp = np.linspace(0, 255, width)[None, :, None] * random.uniform(0.2, 1, 3)
        pixels = ramp + random.normal(0, 30, (height, width, 3))
        path = folder / f"{index:05d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        paths.append(path)
    return paths
