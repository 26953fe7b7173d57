"""Overlays: sizes, colours where they belong, and nothing that breaks on odd input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snellen.report.overlay import COLOURS, draw_overlay

NO_MATCHES = np.zeros((0, 4), dtype=np.float32)


def has_colour(overlay: np.ndarray, name: str, where: tuple[slice, slice]) -> bool:
    return bool((overlay[where] == COLOURS[name]).all(axis=2).any())


def test_source_and_copy_are_told_apart_and_the_image_stays(photo: Callable[[str], np.ndarray]) -> None:
    image = photo("coffee")
    before = image.copy()
    mask = np.zeros(image.shape[:2], dtype=bool)
    mask[100:150, 60:120] = mask[200:250, 300:360] = mask[300:330, 30:60] = True
    pair = ((60, 100, 120, 150), (300, 200, 360, 250), np.array([[80, 120, 320, 220]], dtype=np.float32))
    overlay = draw_overlay(image, mask=mask, pairs=[pair], truth=mask)
    assert overlay.shape == image.shape
    np.testing.assert_array_equal(image, before)
    source, copy, other = np.s_[90:160, 50:130], np.s_[190:260, 290:370], np.s_[290:340, 20:70]
    assert has_colour(overlay, "source", source)
    assert has_colour(overlay, "copy", copy)
    assert has_colour(overlay, "marked", other)
    assert not has_colour(overlay, "marked", source)
    assert (overlay[170, 200] != image[170, 200]).any(), "the line between the two"
    np.testing.assert_array_equal(overlay[380:, 450:], image[380:, 450:])


def test_truth_is_drawn_where_nothing_was_found() -> None:
    truth = np.zeros((400, 400), dtype=bool)
    truth[50:90, 50:90] = True
    overlay = draw_overlay(np.zeros((400, 400, 3), np.uint8), mask=np.zeros_like(truth), truth=truth)
    assert has_colour(overlay, "truth", np.s_[45:95, 45:95])


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (320, 320)),
        ((40, 6000), (11, 1600)),
        ((6000, 40), (1600, 11)),
        ((3000, 4000), (1200, 1600)),
        ((1, 5000), (1, 1600)),
        ((300, 330), (300, 330)),
    ],
)
def test_any_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    mask = np.zeros(size, dtype=bool)
    mask[0, 0] = True
    pair = ((0, 0, 1, 1), (0, 0, size[1], size[0]), np.array([[0, 0, 1e9, -1e9], [0, 0, 5, 5]], dtype=np.float32))
    overlay = draw_overlay(np.zeros((*size, 3), np.uint8), mask=mask, pairs=[pair], score=0.5, truth=mask)
    assert overlay.shape == (*expected, 3)
    assert overlay.dtype == np.uint8


def test_a_single_pixel_of_a_huge_image_is_not_lost() -> None:
    mask = np.zeros((4000, 4000), dtype=bool)
    mask[2000, 2000] = True
    overlay = draw_overlay(np.zeros((4000, 4000, 3), np.uint8), mask=mask)
    assert has_colour(overlay, "marked", np.s_[790:810, 790:810])


def test_the_score_is_written_where_there_is_room() -> None:
    blank, mask = np.zeros((400, 600, 3), np.uint8), np.zeros((400, 600), bool)
    assert (draw_overlay(blank, mask=mask, score=0.25) > 200).any()
    assert not draw_overlay(blank, mask=mask).any()


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="truth has shape"):
        draw_overlay(np.zeros((4, 4, 3), np.uint8), mask=np.zeros((4, 4), bool), truth=np.zeros((5, 4), bool))


def test_many_matches_are_thinned() -> None:
    generator = np.random.default_rng(0)
    matches = generator.uniform(0, 399, (5000, 4)).astype(np.float32)
    blank, mask = np.zeros((400, 400, 3), np.uint8), np.zeros((400, 400), bool)
    overlay = draw_overlay(blank, mask=mask, pairs=[((0, 0, 9, 9), (20, 20, 29, 29), matches)])
    assert (overlay.any(axis=2)).mean() < 0.6
    plain = draw_overlay(blank, mask=mask, pairs=[((0, 0, 9, 9), (20, 20, 29, 29), NO_MATCHES)])
    assert (plain.any(axis=2)).mean() < 0.01
