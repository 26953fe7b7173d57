"""Two detectors as one."""

from __future__ import annotations

import numpy as np
import pytest

from snellen.errors import ContractError
from snellen.models.forgery.detection import Detection, ForgeryDetector, ImageArray
from snellen.models.forgery.fusion import FusedDetector, fuse


class Always:
    """A detector that answers the same to every image."""

    name = "always"

    def __init__(self, detection: Detection) -> None:
        self.detection = detection

    def detect(self, image: ImageArray) -> Detection:
        return self.detection


def found() -> Detection:
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:30] = True
    return Detection((40, 60), mask, 0.9, milliseconds={"features": 3.0})


def guessed(probability: float) -> Detection:
    heatmap = np.full((40, 60), 0.05, np.float32)
    heatmap[25:35, 40:50] = probability
    return Detection((40, 60), heatmap > 0.5, 0.8, heatmap=heatmap, milliseconds={"forward": 7.0})


def test_verified_regions_stay_and_sure_guesses_join() -> None:
    both = fuse(found(), guessed(0.99), weight=0.7, threshold=0.6)
    assert both.mask[10:20, 10:30].all()
    assert both.mask[25:35, 40:50].all()
    assert both.mask.sum() == 300
    assert both.heatmap is not None
    assert both.heatmap[15, 20] == pytest.approx(0.3 + 0.7 * 0.05)
    assert both.score == pytest.approx(0.9)
    assert both.milliseconds == {"features": 3.0, "net forward": 7.0}


def test_an_unsure_guess_alone_is_not_enough() -> None:
    assert not fuse(found(), guessed(0.7), weight=0.5, threshold=0.5).mask[25:35, 40:50].any()


def test_the_score_is_the_blend_where_nothing_was_verified() -> None:
    nothing = Detection((40, 60), np.zeros((40, 60), bool), 0.2)
    assert fuse(nothing, guessed(0.9), weight=0.5, threshold=0.5).score == pytest.approx(0.5)


def test_a_fused_detector_is_a_detector() -> None:
    detector: ForgeryDetector = FusedDetector(Always(found()), Always(guessed(0.99)), weight=0.7, threshold=0.6)
    assert detector.detect(np.zeros((40, 60, 3), np.uint8)).mask.sum() == 300


def test_detections_of_different_images_are_refused() -> None:
    with pytest.raises(ContractError, match=r"\(40, 60\) and \(8, 8\)"):
        fuse(found(), Detection((8, 8), np.zeros((8, 8), bool), 0.0), threshold=0.5)
    with pytest.raises(ContractError, match="weight is 2"):
        fuse(found(), guessed(0.5), weight=2.0, threshold=0.5)
