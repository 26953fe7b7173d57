"""Compound figures: panels are found, a picture used twice is found, and furniture is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from snellen.models.forgery.detection import Detection
from snellen.models.forgery.keypoint import KeypointDetector
from snellen.models.forgery.keypoint.panels import find_panels

Photo = Callable[[str], Path]
Box = tuple[int, int, int, int]
SIDE = 160

CROPS = (
    ("cell", 100, 100),
    ("cell", 300, 200),
    ("coins", 0, 0),
    ("coins", 200, 100),
    ("moon", 100, 100),
    ("ihc", 0, 0),
)


@pytest.fixture(scope="module")
def pictures(photo_path: Photo) -> list[np.ndarray]:
    images = {name: cv2.cvtColor(cv2.imread(str(photo_path(name))), cv2.COLOR_BGR2RGB) for name, _, _ in CROPS}
    return [images[name][y : y + SIDE, x : x + SIDE] for name, x, y in CROPS]


def compose(
    pictures: Sequence[np.ndarray], *, side: int = SIDE, gap: int = 14, ground: int = 255, furniture: bool = True
) -> tuple[np.ndarray, list[Box]]:
    """Three columns of pictures with letters and scale bars; returns the figure and where the pictures are."""
    margin, columns = 20, 3
    rows = -(-len(pictures) // columns)
    height, width = (2 * margin + count * side + (count - 1) * gap for count in (rows, columns))
    figure = np.full((height, width, 3), ground, np.uint8)
    boxes = []
    for number, picture in enumerate(pictures):
        x, y = (margin + index * (side + gap) for index in (number % columns, number // columns))
        figure[y : y + side, x : x + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        boxes.append((x, y, x + side, y + side))
        if furniture:
            letter = "ABCDEF"[number]
            cv2.putText(figure, letter, (x + 4, y + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2, cv2.LINE_AA)
            cv2.rectangle(figure, (x + side - 45, y + side - 12), (x + side - 8, y + side - 9), (255, 255, 255), -1)
    return figure, boxes


def plot(seed: int) -> np.ndarray:
    """A line chart with the axes, tick labels and legend that its neighbours have too."""
    panel = np.full((SIDE, SIDE, 3), 255, np.uint8)
    black, font = (0, 0, 0), cv2.FONT_HERSHEY_SIMPLEX
    cv2.line(panel, (28, 8), (28, SIDE - 24), black, 1)
    cv2.line(panel, (28, SIDE - 24), (SIDE - 6, SIDE - 24), black, 1)
    for tick in range(5):
        y, x = 8 + tick * (SIDE - 32) // 4, 28 + tick * (SIDE - 34) // 4
        cv2.putText(panel, str(100 - 25 * tick), (2, y + 4), font, 0.3, black, 1, cv2.LINE_AA)
        cv2.putText(panel, str(10 * tick), (x - 6, SIDE - 10), font, 0.3, black, 1, cv2.LINE_AA)
    heights = np.random.default_rng(seed).uniform(12, SIDE - 30, 20)
    points = np.stack([np.linspace(28, SIDE - 8, 20), heights], axis=1).astype(np.int32)
    cv2.polylines(panel, [points], False, (200, 30, 30), 1, cv2.LINE_AA)
    cv2.rectangle(panel, (SIDE - 60, 10), (SIDE - 10, 34), black, 1)
    cv2.putText(panel, "control", (SIDE - 56, 20), font, 0.3, black, 1, cv2.LINE_AA)
    cv2.putText(panel, "treated", (SIDE - 56, 31), font, 0.3, black, 1, cv2.LINE_AA)
    return panel


def coverage(detection: Detection, boxes: Sequence[Box]) -> list[float]:
    return [float(detection.mask[y0:y1, x0:x1].mean()) for x0, y0, x1, y1 in boxes]


@pytest.mark.parametrize(("gap", "ground"), [(14, 255), (3, 255), (14, 0)])
def test_panels_are_found_to_the_pixel(pictures: list[np.ndarray], gap: int, ground: int) -> None:
    figure, boxes = compose(pictures, gap=gap, ground=ground)
    assert [panel.box for panel in find_panels(figure)] == boxes


def test_a_compressed_figure_has_its_panels_and_plots_are_none(pictures: list[np.ndarray]) -> None:
    figure, boxes = compose([plot(0), pictures[2], plot(1), pictures[5], plot(2), pictures[0]])
    encoded = cv2.imencode(".jpg", figure, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    panels = find_panels(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8))
    assert np.abs(np.array([panel.box for panel in panels]) - np.array(boxes)[[1, 3, 5]]).max() <= 1


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket", "page", "camera", "china", "flower", "ihc"])
def test_a_photograph_has_no_panels(photo_path: Photo, name: str) -> None:
    image = cv2.cvtColor(cv2.imread(str(photo_path(name))), cv2.COLOR_BGR2RGB)
    assert find_panels(image) == ()


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda picture: picture,
    "mirrored": lambda picture: picture[:, ::-1],
    "turned": np.rot90,
    "paler": lambda picture: (0.65 * picture + 50).astype(np.uint8),
    "turned and paler": lambda picture: (0.65 * np.rot90(picture) + 50).astype(np.uint8),
    "enlarged": lambda picture: cv2.resize(picture[20:120, 30:130], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("used", [0, 2, 5], ids=["cells", "coins", "tissue"])
def test_a_picture_used_twice_is_found(pictures: list[np.ndarray], used: int, change: str) -> None:
    again = (used + 1) % 3 + 3 if used < 3 else 1
    chosen = list(pictures)
    chosen[again] = CHANGES[change](pictures[used])
    figure, boxes = compose(chosen)
    detection = KeypointDetector().detect(figure)
    covered = coverage(detection, boxes)
    assert covered[again] > 0.7
    assert covered[used] > (0.25 if change == "enlarged" else 0.7)
    assert max(covered[number] for number in range(6) if number not in {used, again}) == 0.0
    pair = detection.regions[0]
    ends = {
        next(number for number, box in enumerate(boxes) if _holds(box, area.box)) for area in (pair.source, pair.copy)
    }
    assert ends == {used, again}


def test_small_panels_are_compared(pictures: list[np.ndarray]) -> None:
    chosen = [*pictures[:3], pictures[4], pictures[5], pictures[2]]
    figure, boxes = compose(chosen, side=80)
    covered = coverage(KeypointDetector().detect(figure), boxes)
    assert min(covered[2], covered[5]) > 0.7
    assert max(covered[number] for number in (0, 1, 3, 4)) == 0.0


@pytest.mark.parametrize("ground", [255, 0])
def test_letters_bars_and_gutters_do_not_fire(pictures: list[np.ndarray], ground: int) -> None:
    figure, _ = compose(pictures, ground=ground)
    assert not KeypointDetector().detect(figure).mask.any()


def test_axes_tick_labels_and_legends_do_not_fire(pictures: list[np.ndarray]) -> None:
    only_plots, _ = compose([plot(seed) for seed in range(6)], furniture=False)
    mixed, _ = compose([plot(0), pictures[2], plot(1), pictures[5], plot(2), pictures[0]])
    for figure in (only_plots, mixed):
        detection = KeypointDetector().detect(figure)
        assert not detection.mask.any()
        assert detection.score < 0.5


def test_channels_beside_their_overlay_do_not_fire(photo_path: Photo) -> None:
    photo = cv2.cvtColor(cv2.imread(str(photo_path("astronaut"))), cv2.COLOR_BGR2RGB)
    overlays = [photo[100:260, 150:310], photo[300:460, 100:260]]
    channels = [[picture * np.eye(3, dtype=np.uint8)[k] for k in (0, 1)] for picture in overlays]
    figure, _ = compose([*channels[0], overlays[0], *channels[1], overlays[1]])
    assert not KeypointDetector().detect(figure).mask.any()


def _holds(outer: Box, inner: Box) -> bool:
    middle = ((inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2)
    return outer[0] <= middle[0] < outer[2] and outer[1] <= middle[1] < outer[3]
