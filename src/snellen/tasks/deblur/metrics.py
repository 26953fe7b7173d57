"""PSNR and SSIM of restored frames, on RGB and on luma, beside those of the blurred ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snellen.engine.recipe import Batch
from snellen.ops.bootstrap import Interval, bootstrap, mean_of
from snellen.ops.image_quality import psnr, ssim

__all__ = ["FIGURES", "DeblurMetrics", "FrameScore", "clip_scores", "means", "over_sequences", "score_frame"]

Bytes = npt.NDArray[np.uint8]

FIGURES = ("psnr", "ssim", "psnr_y", "ssim_y", "input_psnr", "input_ssim", "gain")
"""Names of the figures; `gain` is `psnr` less `input_psnr`."""
_EQUAL = 100.0
"""PSNR of equal images, where a mean is taken: 100 dB is beyond what 8 bits can tell from it."""


@dataclass(frozen=True, slots=True)
class FrameScore:
    """The figures of one frame.

    Args:
        frame: The blurred file.
        sequence: What it belongs to.
        figures: By name.
    """

    frame: str
    sequence: str
    figures: Mapping[str, float]


def score_frame(made: Bytes, blur: Bytes, sharp: Bytes) -> dict[str, float]:
    """The figures of a frame; all images `(H, W, 3)`, RGB, as an image file holds them.

    Example:
        >>> grey = np.full((16, 16, 3), 100, np.uint8)
        >>> found = score_frame(grey, grey + 10, grey)
        >>> found["psnr"], round(found["input_psnr"], 2)
        (100.0, 28.13)
    """
    found = {
        "psnr": psnr(made, sharp),
        "ssim": ssim(made, sharp),
        "psnr_y": psnr(made, sharp, on_luma=True),
        "ssim_y": ssim(made, sharp, on_luma=True),
        "input_psnr": psnr(blur, sharp),
        "input_ssim": ssim(blur, sharp),
    }
    found = {name: min(value, _EQUAL) if math.isinf(value) else value for name, value in found.items()}
    return {**found, "gain": found["psnr"] - found["input_psnr"]}


def clip_scores(made: Bytes, blur: Bytes, sharp: Bytes, *, files: Sequence[str], sequence: str) -> list[FrameScore]:
    """The figures of the frames of a clip, `(T, H, W, 3)` each."""
    rows = zip(files, made, blur, sharp, strict=True)
    return [FrameScore(file, sequence, score_frame(*images)) for file, *images in rows]


def means(scores: Sequence[FrameScore]) -> dict[str, float]:
    """Mean of each figure over frames; NaN without any."""
    found = {name: [one.figures[name] for one in scores] for name in FIGURES}
    return {name: float(np.mean(values)) if values else math.nan for name, values in found.items()}


def over_sequences(scores: Sequence[FrameScore]) -> dict[str, Interval]:
    """Mean of each figure over sequences, with 95% bootstrap intervals: frames of one sequence are much alike."""
    names = sorted({one.sequence for one in scores})
    rows = [means([one for one in scores if one.sequence == name]) for name in names]
    return {name: bootstrap(mean_of(np.array([row[name] for row in rows])), len(rows)) for name in FIGURES}


class DeblurMetrics:
    """Figures of an evaluation during training, merged over ranks; a frame that two ranks saw counts once."""

    def __init__(self) -> None:
        self._scores: dict[str, FrameScore] = {}

    def update(self, outputs: Sequence[FrameScore], batch: Batch) -> None:  # noqa: ARG002 - the scores name their frames
        """Take in the frames of one batch."""
        self._scores |= {one.frame: one for one in outputs}

    def state(self) -> list[dict[str, Any]]:
        """Plain data."""
        return [
            {"frame": one.frame, "sequence": one.sequence, "figures": dict(one.figures)}
            for one in self._scores.values()
        ]

    def merge(self, states: Sequence[list[dict[str, Any]]]) -> None:
        """Join the frames of all ranks."""
        self._scores = {one["frame"]: FrameScore(**one) for state in states for one in state}

    def compute(self) -> dict[str, float]:
        """The figures by name, and how many frames they are of."""
        return {**means(list(self._scores.values())), "frames": float(len(self._scores))}
