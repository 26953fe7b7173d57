"""Write scikit-learn's handwritten digits as pictures with a table of three labels, for `probe.yaml`.

The labels are made like those of a skin clinic. Whether a digit holds a loop stands for "skin or not"; which digit it
is, is known for looped ones only, as a type of lesion is for skin only; whether it is odd stands for "malignant".
`3` is a type that nobody has a picture of.

    python examples/probe_digits.py digits
    snellen train examples/probe.yaml
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

LOOPED = {0, 6, 8, 9}


def write_digits(folder: Path, *, each: int | None = None) -> None:
    """Write `train/`, `val/`, `test/` and `labels.csv`.

    Args:
        folder: Where.
        each: Only so many pictures of each digit.
    """
    digits = load_digits()
    kept = [row for number in range(10) for row in np.flatnonzero(digits.target == number)[:each]]
    rows = []
    for place, row in enumerate(sorted(kept)):
        number = int(digits.target[row])
        split = ("train", "train", "train", "val", "test")[place % 5]
        path = folder / split / f"{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (digits.images[row] / 16 * 255).astype(np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(path)
        looped = number in LOOPED
        kind = str(number) if looped else ""
        rows.append((f"{split}/{path.name}", "yes" if looped else "no", kind, "odd" if number % 2 else "even"))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "looped", "digit", "parity"), *rows])


if __name__ == "__main__":
    write_digits(Path(sys.argv[1] if len(sys.argv) > 1 else "digits"))
