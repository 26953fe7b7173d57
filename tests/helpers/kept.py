"""Pictures that are decoded and kept; in a module of its own, because ranks import it by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny import Pictures, Tiny

from snellen.data.cache.items import Items

__all__ = ["KEPT_SAMPLES", "Kept", "KeptPictures"]

KEPT_SAMPLES = 24


class KeptPictures(Pictures):
    """Pictures whose first part is decoded, which is noted in a file, and kept."""

    def __init__(self, samples: int, note: Path, name: str) -> None:
        super().__init__(samples)
        self.note, self.name = note, name
        self.items = Items([[]] * samples, self._decode, how=name)

    def _decode(self, number: int) -> tuple[np.ndarray, ...]:
        with self.note.open("a") as file:
            file.write(f"{self.name} {number}\n")
        return (np.full((64, 64, 3), number, np.uint8),)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        (pixels,) = self.items.read(index)
        assert int(pixels[0, 0, 0]) == index
        return sample


class Kept(Tiny):
    """A recipe over kept pictures.

    Args:
        note: File that every decoding is written to.
    """

    def __init__(self, note: Path) -> None:
        super().__init__(KEPT_SAMPLES, validation=8)
        self.note = note

    def train_dataset(self) -> Any:
        return KeptPictures(KEPT_SAMPLES, self.note, "train")

    def evaluation_dataset(self, split: str) -> Any:
        return KeptPictures(8, self.note, "val") if split == "val" else None
