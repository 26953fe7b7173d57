"""Copies that no keypoint finds: smooth, tiny, mirrored or turned; and equal blocks that are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from snellen.models.forgery.keypoint import KeypointDetector, KeypointSettings
from snellen.models.forgery.keypoint.blocks import repeated_blocks

Photo = Callable[[str], Path]


def wall(seed: int = 0, shape: tuple[int, int] = (300, 400)) -> np.ndarray:
    """A smooth, slightly noisy surface under uneven light, as a camera sees it."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    light = 110 + 25 * np.sin(x / 170.0) + 15 * np.cos(y / 130.0)
    noise = np.random.default_rng(seed).normal(0.0, 1.6, (*shape, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 0.6)
    return np.clip(light[..., None] + [20, 0, -25] + smooth, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(15, 24), (60, 40)])
def test_a_copy_on_a_smooth_wall_is_found(size: tuple[int, int]) -> None:
    image = wall()
    width, height = size
    image[120 : 120 + height, 221 : 221 + width] = image[50 : 50 + height, 60 : 60 + width]
    truth = np.zeros(image.shape[:2], np.bool_)
    truth[50 : 50 + height, 60 : 60 + width] = truth[120 : 120 + height, 221 : 221 + width] = True
    detection = KeypointDetector().detect(image)
    assert 2 * (detection.mask & truth).sum() / (detection.mask.sum() + truth.sum()) > 0.9
    assert np.abs(detection.regions[0].transform[:, 2]).tolist() == [161.0, 70.0]


def test_untouched_walls_give_an_empty_mask() -> None:
    for seed in range(3):
        assert not KeypointDetector().detect(wall(seed)).mask.any()


@pytest.mark.parametrize("quality", [60, 80, 92])
def test_the_block_grid_of_compression_does_not_fire(quality: int) -> None:
    for seed in range(3):
        encoded = cv2.imencode(".jpg", wall(seed), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
        for variant in (image, np.ascontiguousarray(image[5:, 3:]), np.repeat(np.repeat(image, 2, 0), 2, 1)):
            assert not KeypointDetector().detect(variant).mask.any()


@pytest.mark.parametrize("ground", [0, 255, 77])
def test_saturated_areas_do_not_fire(ground: int) -> None:
    image = wall()
    image[:, 150:] = ground
    assert not KeypointDetector().detect(image).mask.any()


def test_a_large_image_is_compared_in_its_own_pixels() -> None:
    image = wall(shape=(500, 700))
    image[300:340, 400:440] = image[90:130, 77:117]
    detection = KeypointDetector(KeypointSettings(max_pixels=100_000)).detect(image)
    assert detection.mask[92:128, 79:115].mean() > 0.9
    assert detection.mask[302:338, 402:438].mean() > 0.9
    assert detection.mask.sum() < 1.3 * 2 * 40 * 40


@pytest.mark.parametrize("name", ["as it is", "mirrored", "upside down", "half turn", "quarter turn", "transposed"])
def test_equal_blocks_are_found_under_every_symmetry(photo_path: Photo, name: str) -> None:
    image = cv2.cvtColor(cv2.imread(str(photo_path("coffee"))), cv2.COLOR_BGR2RGB)[:200, :300]
    piece = image[20:80, 30:90]
    moved = {
        "as it is": piece,
        "mirrored": piece[:, ::-1],
        "upside down": piece[::-1],
        "half turn": piece[::-1, ::-1],
        "quarter turn": np.rot90(piece),
        "transposed": piece.transpose(1, 0, 2),
    }[name]
    image = image.copy()
    image[120:180, 200:260] = moved
    best = max(repeated_blocks(image, least_distance=14.0), key=lambda pairs: len(pairs.first))
    assert len(best.first) / best.rate == pytest.approx(53 * 53, rel=0.25)
    linear = best.symmetry.matrix
    step = np.stack([best.second.real, best.second.imag]) - linear @ np.stack([best.first.real, best.first.imag])
    values, counts = np.unique(step, axis=1, return_counts=True)
    assert counts.max() > 0.95 * len(best.first), values


def test_an_image_smaller_than_a_block_has_none() -> None:
    assert repeated_blocks(np.zeros((5, 90, 3), np.uint8), least_distance=14.0) == ()
