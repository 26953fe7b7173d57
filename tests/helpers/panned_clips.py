"""Sequences for deblurring: photographs that a camera pans across, blurred, sharp, and their spikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from snellen.data.spikes.geometry import write_sidecar
from snellen.data.spikes.streams import SpikeFormat, write_spikes

__all__ = ["Pan", "write_panned"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pan:
    """How the camera moves.

    Args:
        frames: Of a sequence.
        size: Height and width of a frame.
        steps: Moments of an exposure that are averaged; the sensor counts at each of them.
        speed: Least and most pixels that the picture moves from frame to frame.
        threshold: Light at which the sensor fires; white gives 1 a moment.
    """

    frames: int = 6
    size: tuple[int, int] = (96, 96)
    steps: int = 32
    speed: tuple[float, float] = (4.0, 10.0)
    threshold: float = 1.2


def write_panned(folder: Path, photographs: Sequence[npt.NDArray[np.uint8]], pan: Pan, *, seed: int = 0) -> list[Path]:
    """Write one sequence of each photograph: `panSS_NNN/{blur,sharp,spike}/NNNNNNNN.*`.

    Args:
        folder: Is made.
        photographs: RGB, each larger than a frame.
        pan: How the camera moves.
        seed: Of start, direction and spikes; part of the names.

    Returns:
        The folders of the sequences.
    """
    folder.mkdir(parents=True, exist_ok=True)
    form = SpikeFormat(*pan.size)
    write_sidecar(folder, form)
    written = []
    for number, photograph in enumerate(photographs):
        place = folder / f"pan{seed:02}_{number:03}"
        for name in ("blur", "sharp", "spike"):
            (place / name).mkdir(parents=True)
        numbers = np.random.default_rng((seed, number))
        light = np.square(photograph.astype(np.float32) / 255.0)
        charge = numbers.random(pan.size, dtype=np.float32) * pan.threshold
        for frame, path in enumerate(_paths(pan, light.shape[:2], numbers)):
            moments = [cv2.getRectSubPix(light, pan.size[::-1], (float(x), float(y))) for x, y in path]
            _write(place / "blur" / f"{frame:08}.png", np.mean(moments, axis=0))
            _write(place / "sharp" / f"{frame:08}.png", moments[len(moments) // 2])
            spikes = np.zeros((pan.steps, *pan.size), np.uint8)
            for step, moment in enumerate(moments):
                charge += moment.mean(axis=2)
                spikes[step] = charge >= pan.threshold
                charge -= pan.threshold * spikes[step]
            write_spikes(place / "spike" / f"{frame:08}.dat", spikes, form)
        written.append(place)
    return written


def _paths(pan: Pan, within: tuple[int, int], numbers: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """Where the middle of the frame is at each moment of each frame, bouncing off the borders."""
    low = np.array([pan.size[1] / 2, pan.size[0] / 2])
    room = np.maximum(np.array([within[1], within[0]]) - 2 * low, 1e-3)
    angle, speed = numbers.uniform(0, 2 * np.pi), numbers.uniform(*pan.speed)
    start = numbers.uniform(0, 1, 2) * room
    times = np.arange(pan.frames * pan.steps) / pan.steps
    turn = angle + 0.15 * times
    moved = np.cumsum(np.stack((np.cos(turn), np.sin(turn)), axis=1) * speed / pan.steps, axis=0)
    away = np.mod(start + moved, 2 * room)
    places = low + np.minimum(away, 2 * room - away)
    return list(places.reshape(pan.frames, pan.steps, 2))


def _write(path: Path, light: npt.NDArray[np.floating]) -> None:
    levels = np.round(255.0 * np.sqrt(np.clip(light, 0, 1))).astype(np.uint8)
    cv2.imwrite(str(path), levels[:, :, ::-1])
