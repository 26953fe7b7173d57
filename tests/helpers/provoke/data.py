"""Failures of the family data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, TensorDataset

from provoke.machinery import case, run_script


class _Pictures(Dataset[Image.Image]):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:  # type: ignore[override]
        with Image.open(self.paths[index]) as image:
            return torch.from_numpy(np.asarray(image.convert("RGB")).copy())


def _photo(path: Path) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


@case("empty-dataset")
def nothing_to_shuffle(folder: Path) -> None:
    DataLoader(TensorDataset(torch.zeros(0, 3)), shuffle=True)


@case("empty-dataset")
def folder_without_classes(folder: Path) -> None:
    from torchvision.datasets import ImageFolder

    ImageFolder(folder)


@case("empty-dataset")
def folder_without_images(folder: Path) -> None:
    from torchvision.datasets import ImageFolder

    (folder / "cat").mkdir()
    ImageFolder(folder)


@case("empty-dataset")
def mean_over_nothing(folder: Path) -> None:
    train_loader = DataLoader(TensorDataset(torch.zeros(0, 3)))
    total = sum(float(batch[0].sum()) for batch in train_loader)
    total / len(train_loader)


@case("missing-file")
def listed_but_absent(folder: Path) -> None:
    for _ in DataLoader(_Pictures([folder / "0001.png"])):
        pass


@case("missing-file")
def annotations_absent(folder: Path) -> None:
    np.loadtxt(folder / "labels.csv")


@case("missing-file")
def read_as_nothing(folder: Path) -> str:
    lines = ["import cv2", "image = cv2.imread('0001.png')", "cv2.cvtColor(image, cv2.COLOR_BGR2RGB)"]
    (folder / "train.py").write_text("\n".join(lines))
    return run_script(folder, "train.py")


@case("corrupt-image")
def cut_short(folder: Path) -> None:
    path = folder / "cut.jpg"
    path.write_bytes(_photo(path)[:1500])
    for _ in DataLoader(_Pictures([path])):
        pass


@case("corrupt-image")
def cut_png(folder: Path) -> None:
    path = folder / "cut.png"
    path.write_bytes(_photo(path)[:1500])
    _Pictures([path])[0]


@case("corrupt-image")
def not_an_image(folder: Path) -> None:
    path = folder / "page.jpg"
    path.write_text("<html>404</html>")
    _Pictures([path])[0]


@case("corrupt-image")
def empty_png(folder: Path) -> None:
    path = folder / "empty.png"
    path.write_bytes(b"")
    _Pictures([path])[0]
