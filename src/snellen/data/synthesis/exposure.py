"""What a camera with a long exposure, and a spike camera beside it, see of a sharp video."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from snellen.errors import DataError

__all__ = ["Exposure", "ExposureSettings", "expose", "from_linear", "to_linear"]

Frame: TypeAlias = npt.NDArray[np.uint8]
Light: TypeAlias = npt.NDArray[np.float32]

_LEVELS: Final = np.arange(256, dtype=np.float64) / 255
_LINEAR: Final = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True, slots=True)
class ExposureSettings:
    """How blur and spikes are made.

    Args:
        window: Frames that one exposure spans, odd, at least 3.
        stride: Frames from one exposure to the next.
        subframes: Moments that are interpolated between two frames.
        steps: Spike readings between two frames; a multiple of `subframes`.
        threshold: Light that makes a pixel fire; a white pixel gathers 1 in each reading.
        noise: Standard deviation of the light of a reading, as a share of the square root of the light.
        sensor: Height and width of the spike sensor; those of the frames without it.

    Raises:
        DataError: A value out of range.
    """

    window: int = 5
    stride: int = 1
    subframes: int = 8
    steps: int = 16
    threshold: float = 2.0
    noise: float = 0.05
    sensor: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.window < 3 or self.window % 2 == 0:
            raise DataError(f"window is {self.window}, expected an odd number of frames from 3: one is in the middle")
        if self.stride < 1 or self.subframes < 1:
            raise DataError(f"stride is {self.stride} and subframes {self.subframes}, expected at least 1")
        if self.steps < self.subframes or self.steps % self.subframes:
            raise DataError(f"steps is {self.steps}, expected a multiple of the {self.subframes} subframes")
        if not self.threshold >= 1 or not 0 <= self.noise < 1:
            raise DataError(
                f"threshold is {self.threshold} and noise {self.noise}, expected at least 1 (a pixel fires once a "
                "reading at most) and 0 to 1"
            )


@dataclass(frozen=True, slots=True)
class Exposure:
    """One exposure.

    Args:
        number: Of the frame in its middle, from 0.
        blur: What the camera saw, RGB.
        sharp: The frame in the middle.
        spikes: Readings during the exposure, `(steps, height, width)`.
    """

    number: int
    blur: Frame
    sharp: Frame
    spikes: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Interval:
    """From one frame to the next: the sum of the light of its moments, the first included, and the spikes."""

    light: Light
    spikes: npt.NDArray[np.uint8]


def to_linear(levels: Frame) -> Light:
    """Light of sRGB levels, 0 to 1."""
    return _LINEAR[levels]


def from_linear(light: Light) -> Frame:
    """The sRGB levels of light, rounded.

    Example:
        >>> levels = np.arange(256, dtype=np.uint8)
        >>> bool((from_linear(to_linear(levels)) == levels).all())
        True
    """
    clipped = np.clip(light, 0, 1)
    curve = np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * np.power(clipped, 1 / 2.4) - 0.055)
    return np.asarray(np.round(255 * curve), np.uint8)


def expose(frames: Iterable[Frame], settings: ExposureSettings, *, seed: tuple[int, ...] = (0,)) -> Iterator[Exposure]:
    """Exposures of a sharp video, one after the other; memory for one exposure is held.

    Between two frames, moments are interpolated along the optical flow. Light, not levels, is averaged. The spike
    sensor gathers the light of each moment and fires when its threshold is reached, keeping the rest.

    Args:
        frames: RGB, of one size.
        settings: How.
        seed: All random numbers follow from it and the number of the frame.

    Raises:
        DataError: Frames of different sizes.

    Example:
        >>> still = [np.full((16, 16, 3), 188, np.uint8)] * 4
        >>> found = list(expose(still, ExposureSettings(window=3, noise=0.0)))
        >>> [(one.number, int(one.blur[0, 0, 0]), one.spikes.shape) for one in found]
        [(1, 188, (32, 16, 16)), (2, 188, (32, 16, 16))]
    """
    half = settings.window // 2
    held: deque[Frame] = deque(maxlen=settings.window)
    intervals: deque[_Interval] = deque(maxlen=settings.window - 1)
    charge: Light | None = None
    for number, frame in enumerate(frames):
        if held and held[-1].shape != frame.shape:
            raise DataError(f"frame {number} is of shape {frame.shape}, the one before of {held[-1].shape}")
        if held:
            numbers = np.random.default_rng([*seed, number])
            charge = _first_charge(held[0], settings, numbers) if charge is None else charge
            interval, charge = _between(held[-1], frame, charge, settings, numbers)
            intervals.append(interval)
        held.append(frame)
        middle = number - half
        if len(held) == settings.window and (middle - half) % settings.stride == 0:
            # The last moment of the exposure is the last frame itself.
            light = to_linear(frame)
            for interval in intervals:
                np.add(light, interval.light, out=light)
            moments = len(intervals) * settings.subframes + 1
            spikes = np.concatenate([interval.spikes for interval in intervals])
            yield Exposure(middle, from_linear(light / np.float32(moments)), held[half], spikes)


def _first_charge(frame: Frame, settings: ExposureSettings, numbers: np.random.Generator) -> Light:
    """What the pixels have gathered when the recording begins: anything below the threshold."""
    size = settings.sensor or (frame.shape[0], frame.shape[1])
    return numbers.uniform(0, settings.threshold, size).astype(np.float32)


def _between(
    one: Frame, two: Frame, charge: Light, settings: ExposureSettings, numbers: np.random.Generator
) -> tuple[_Interval, Light]:
    total = np.zeros(one.shape, np.float32)
    spikes = []
    readings = settings.steps // settings.subframes
    for moment in _moments(one, two, settings.subframes):
        np.add(total, moment, out=total)
        seen = np.asarray(moment @ _LUMINANCE, np.float32)
        if seen.shape != charge.shape:
            seen = np.asarray(cv2.resize(seen, charge.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
        for _ in range(readings):
            gathered = seen
            if settings.noise:
                shake = numbers.standard_normal(seen.shape, np.float32)
                gathered = np.maximum(seen + settings.noise * np.sqrt(np.maximum(seen, 0)) * shake, 0)
            charge = charge + gathered
            fired = charge >= settings.threshold
            charge = charge - np.float32(settings.threshold) * fired.astype(np.float32)
            spikes.append(fired)
    return _Interval(total, np.stack(spikes).astype(np.uint8)), charge


def _moments(one: Frame, two: Frame, count: int) -> Iterator[Light]:
    """Light at `count` moments from the first frame on, the second left out."""
    first, second = to_linear(one), to_linear(two)
    yield first
    if count == 1:
        return
    forward, backward = _flow(one, two), _flow(two, one)
    height, width = one.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    grid = np.stack([columns, rows], axis=-1)
    for step in range(1, count):
        part = step / count
        early = _moved(first, grid - part * forward)
        late = _moved(second, grid - (1 - part) * backward)
        yield (1 - part) * early + part * late


def _flow(one: Frame, two: Frame) -> Light:
    height, width = one.shape[:2]
    if min(height, width) < 16:
        # Too small to follow anything: the frames are faded into each other.
        return np.zeros((height, width, 2), np.float32)
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (one, two))
    return np.asarray(estimator.calc(first, second, np.zeros((height, width, 2), np.float32)), np.float32)


def _moved(light: Light, places: Light) -> Light:
    columns, rows = (np.ascontiguousarray(places[..., axis], np.float32) for axis in (0, 1))
    moved = cv2.remap(light, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
