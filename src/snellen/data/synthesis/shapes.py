"""Outlines of copied regions: simple figures, and segments that follow the edges of the photo."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from snellen.data.synthesis.settings import RegionShape

__all__ = ["draw_region", "texture_of"]

Mask = npt.NDArray[np.bool_]


def draw_region(
    image: npt.NDArray[np.uint8], shape: RegionShape, *, pixels: float, generator: np.random.Generator
) -> Mask:
    """Draw a region somewhere in the image.

    Args:
        image: RGB, shape `(height, width, 3)`.
        shape: Its outline.
        pixels: About how many pixels it shall have.
        generator: Source of randomness.

    Returns:
        Shape `(height, width)`, one connected region without holes; it may be cut by the border.
    """
    height, width = image.shape[:2]
    radius = math.sqrt(pixels / math.pi)
    margin = min(radius * 0.9, width / 2.5, height / 2.5)
    centre = (generator.uniform(margin, width - margin), generator.uniform(margin, height - margin))
    canvas = np.zeros((height, width), dtype=np.uint8)
    if shape == "segment":
        canvas = _segment(image, centre, pixels, generator)
    elif shape == "ellipse":
        ratio = generator.uniform(1.0, 1.8)
        axes = (max(2, round(radius * math.sqrt(ratio))), max(2, round(radius / math.sqrt(ratio))))
        place = (round(centre[0]), round(centre[1]))
        cv2.ellipse(canvas, place, axes, generator.uniform(0, 180), 0, 360, 255, cv2.FILLED)
    else:
        outline = np.array(centre) + _outline(shape, radius, generator)
        cv2.fillPoly(canvas, [np.rint(outline).astype(np.int32)], (255,))
    return canvas > 0


def texture_of(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Standard deviation of the grey values around each pixel (9 x 9), shape `(height, width)`."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean, square = cv2.blur(grey, (9, 9)), cv2.blur(grey * grey, (9, 9))
    return np.sqrt(np.maximum(square - mean * mean, 0))


def _outline(shape: RegionShape, radius: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    if shape == "box":
        ratio, angle = generator.uniform(1.0, 1.8), generator.choice([0.0, generator.uniform(0, math.pi)])
        half = radius * math.sqrt(math.pi) / 2 * np.array([math.sqrt(ratio), 1 / math.sqrt(ratio)])
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return np.asarray(corners @ turn.T)
    if shape == "polygon":
        count = int(generator.integers(5, 12))
        angles = (np.arange(count) + generator.uniform(-0.35, 0.35, count)) * (2 * math.pi / count)
        lengths = radius * generator.uniform(0.75, 1.3, count)
    else:
        angles = np.linspace(0, 2 * math.pi, 90, endpoint=False)
        waves = np.arange(2, 6)
        heights, phases = generator.normal(0, 0.28 / waves, 4), generator.uniform(0, 2 * math.pi, 4)
        lengths = radius * np.maximum(0.4, 1 + (heights * np.cos(np.outer(angles, waves) + phases)).sum(axis=1))
    return np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=1)


def _segment(
    image: npt.NDArray[np.uint8], centre: tuple[float, float], pixels: float, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Superpixels by a watershed from a jittered grid, merged by colour from the centre outwards."""
    labels = _superpixels(image, step=max(6, int(math.sqrt(pixels / 16))), generator=generator)
    count = int(labels.max()) + 1
    sizes = np.bincount(labels.reshape(-1), minlength=count)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    sums = [np.bincount(labels.reshape(-1), weights=lab[:, channel], minlength=count) for channel in range(3)]
    colours = np.stack(sums, axis=1) / np.maximum(sizes, 1)[:, None]
    chosen = _grow(labels, colours, sizes, start=int(labels[int(centre[1]), int(centre[0])]), pixels=pixels)
    mask = np.isin(labels, chosen).astype(np.uint8) * np.uint8(255)
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, ellipse)
    mask = np.asarray(cv2.morphologyEx(closed, cv2.MORPH_OPEN, ellipse), dtype=np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    if outlines:
        cv2.drawContours(filled, [max(outlines, key=cv2.contourArea)], -1, (255,), cv2.FILLED)
    return filled


def _superpixels(image: npt.NDArray[np.uint8], *, step: int, generator: np.random.Generator) -> npt.NDArray[np.int32]:
    height, width = image.shape[:2]
    rows, columns = np.arange(step // 2, height, step), np.arange(step // 2, width, step)
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    places = places + generator.integers(-(step // 3), step // 3 + 1, size=places.shape)
    markers = np.zeros((height, width), dtype=np.int32)
    y, x = np.clip(places[:, 0], 0, height - 1), np.clip(places[:, 1], 0, width - 1)
    markers[y, x] = np.arange(1, len(places) + 1)
    cv2.watershed(cv2.GaussianBlur(image, (0, 0), 1.5), markers)
    # Watersheds are marked -1 and go to a neighbour; float because dilation of 32-bit integers does not exist.
    spread = cv2.dilate(markers.astype(np.float32), np.ones((3, 3), dtype=np.uint8))
    labels = np.where(markers > 0, markers, np.maximum(spread, 0).astype(np.int32))
    return labels.astype(np.int32)


def _grow(
    labels: npt.NDArray[np.int32],
    colours: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.int64],
    *,
    start: int,
    pixels: float,
) -> list[int]:
    pairs = np.concatenate(
        [
            np.stack([labels[:, :-1].reshape(-1), labels[:, 1:].reshape(-1)], axis=1),
            np.stack([labels[:-1].reshape(-1), labels[1:].reshape(-1)], axis=1),
        ]
    )
    codes = np.unique(pairs[pairs[:, 0] != pairs[:, 1]].astype(np.int64) @ np.array([len(sizes), 1]))
    neighbours: dict[int, set[int]] = {}
    for code in codes.tolist():
        first, second = divmod(code, len(sizes))
        neighbours.setdefault(first, set()).add(second)
        neighbours.setdefault(second, set()).add(first)
    chosen, total = [start], int(sizes[start])
    fringe = set(neighbours.get(start, ()))
    while total < pixels and fringe:
        mean = colours[chosen].mean(axis=0)
        # Superpixels with many chosen neighbours first at equal colour: it keeps the outline short.
        best = min(
            sorted(fringe),
            key=lambda label: float(np.abs(colours[label] - mean).sum()) / (1 + len(neighbours[label] & set(chosen))),
        )
        chosen.append(best)
        total += int(sizes[best])
        fringe = (fringe | neighbours[best]) - set(chosen)
    return chosen
