"""Samples of the forgery task: pairs stay aligned, crops are reproducible, what does not fit is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from snellen.data.layouts.forged_masks import discover
from snellen.data.writing import write_png
from snellen.errors import DataError
from snellen.tasks.forgery.data import TrainingCrops, collate, list_samples, load_sample, readable, samples_of

Photo = Callable[[str], npt.NDArray[np.uint8]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two forged images whose altered pixels are white on black, and an authentic one of the same stem."""
    for name in ("forged", "masks", "authentic"):
        (tmp_path / name).mkdir()
    for index, size in enumerate([(120, 200), (90, 60)]):
        mask = np.zeros(size, dtype=bool)
        mask[10:40, 20:50] = True
        write_png(tmp_path / "forged" / f"{index}.png", np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2))
        write_png(tmp_path / "masks" / f"{index}.png", mask)
    write_png(tmp_path / "authentic" / "0.png", np.full((50, 50, 3), 90, np.uint8))
    return tmp_path


def test_names_are_unique_though_stems_are_not(folder: Path) -> None:
    names = [sample.name for sample in list_samples(discover(folder).samples)]
    assert names == ["forged/0", "forged/1", "authentic/0"]


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_shows_the_mask_exactly_where_the_image_does(folder: Path, seed: int) -> None:
    crops = TrainingCrops(samples_of(folder, key="data.train"), side=64, max_pixels=10**6)
    torch.manual_seed(seed)
    sample = crops[seed % 2]
    assert sample["image"].shape == (3, 64, 64)
    assert sample["image"].min() >= 0
    assert sample["image"].max() <= 1
    # White pixels are altered, black ones are not, and grey is padding; edges are blurred by scaling and JPEG.
    white, black = sample["image"].mean(0) > 0.9, sample["image"].mean(0) < 0.1
    assert sample["mask"][0][white].mean() > 0.97
    assert sample["mask"][0][black].mean() < 0.03
    assert sample["mask"].unique().tolist() in ([0.0, 1.0], [0.0], [1.0])


def test_a_crop_follows_from_torch_s_seed_alone(folder: Path) -> None:
    crops = TrainingCrops(samples_of(folder, key="data.train"), side=64, max_pixels=10**6)
    drawn = []
    for seed in (5, 6, 5):
        torch.manual_seed(seed)
        drawn.append(crops[0]["image"])
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_whole_images_of_different_sizes_stay_in_lists(folder: Path) -> None:
    samples = [load_sample(sample, max_pixels=10**6) for sample in samples_of(folder, key="data.val")]
    batch = collate([{"pixels": image, "truth": mask, "file": "f"} for image, mask in samples])
    assert [pixels.shape for pixels in batch["pixels"]] == [(120, 200, 3), (90, 60, 3), (50, 50, 3)]
    assert batch["files"] == ["f", "f", "f"]


def test_a_mask_of_another_size_is_refused_by_name(folder: Path) -> None:
    write_png(folder / "masks" / "1.png", np.zeros((45, 30), dtype=bool))
    with pytest.raises(DataError, match=r"1\.png is 30 x 45 pixels, its image is 60 x 90"):
        load_sample(samples_of(folder, key="data.val")[1], max_pixels=10**6)


def test_a_flat_folder_has_nothing_to_learn_from(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="1 images and no mask") as caught:
        samples_of(tmp_path, key="data.train")
    assert caught.value.slug == "empty-dataset"


def test_a_split_that_is_not_set_names_its_key() -> None:
    with pytest.raises(DataError, match=r"data\.val is not set"):
        samples_of(None, key="data.val")


def test_a_file_that_breaks_during_training_is_named_and_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crops = TrainingCrops(samples_of(folder, key="data.train"), side=64, max_pixels=10**6)
    (folder / "forged" / "0.png").write_bytes(b"not a picture")
    assert crops[0]["file"].endswith("1.png")
    assert "left out" in capsys.readouterr().err


def test_unreadable_samples_are_left_out_by_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "forged" / "1.png").write_bytes(b"")
    kept = readable(samples_of(folder, key="data.val"), max_pixels=10**6)
    assert [sample.name for sample in kept] == ["forged/0", "authentic/0"]
    assert "1.png" in capsys.readouterr().err


def test_nothing_readable_is_an_error(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        readable(samples_of(folder, key="data.val"), max_pixels=10**6)
