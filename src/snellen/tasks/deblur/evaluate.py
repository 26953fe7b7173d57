"""Figures of a trained network on a split, with intervals over sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from snellen.config.schema import RunConfig
from snellen.data.writing import make_folder, write_png
from snellen.errors import DataError
from snellen.report.progress import track
from snellen.tasks.base import Evaluation
from snellen.tasks.deblur.config import DeblurRun
from snellen.tasks.deblur.data import WholeClips, clips_of, frame_reader
from snellen.tasks.deblur.metrics import FrameScore, clip_scores, means, over_sequences
from snellen.tasks.deblur.model import load_trained
from snellen.tasks.deblur.recipe import restored_clip, strip

__all__ = ["evaluate"]

_SHOWN = 8


def evaluate(
    config: RunConfig,
    *,
    checkpoints: Path | None,
    split: str,
    limit: int | None = None,
    gallery: Path | None = None,
) -> Evaluation:
    """Evaluate a trained network on one split.

    Args:
        config: The run.
        checkpoints: Of the run.
        split: Which.
        limit: At most so many clips.
        gallery: For strips of the frames that gained least.

    Raises:
        DataError: The split has no folder, or no clip of it can be read.
        WeightsError: There are no trained weights.
    """
    if not isinstance(config, DeblurRun):
        raise TypeError(f"expected a DeblurRun, given {type(config).__name__}")
    listing = clips_of(config, split)
    network = load_trained(config.model, checkpoints)
    clips = WholeClips(listing.clips[:limit], frame_reader(config), scale=float(config.data.voxel_scale))
    scores: list[FrameScore] = []
    strips: list[tuple[float, str, npt.NDArray[np.uint8]]] = []
    notes = list(listing.told()[1:])
    problems = []
    with torch.inference_mode():
        for index in track(list(range(len(clips))), description=f"evaluate {split}"):
            try:
                sample = clips[index]
            except DataError as error:
                problems.append(f"left out: {error.message}")
                continue
            blur, sharp = sample["blurred"], sample["truth"]
            made = restored_clip(network, blur, sample["grids"], config)
            found = clip_scores(made, blur, sharp, files=sample["frames"], sequence=sample["sequence"])
            scores += found
            if gallery is not None:
                worst = min(range(len(found)), key=lambda place: found[place].figures["gain"])
                name = f"{sample['sequence'] or 'clip'}-{Path(found[worst].frame).stem}".replace("/", "-")
                row = found[worst].figures["gain"], name, strip(blur[worst], made[worst], sharp[worst])
                strips = sorted([*strips, row], key=lambda one: one[0])[:_SHOWN]
    if not scores:
        raise DataError(f"no clip of data.{split} can be read: {problems[0] if problems else 'there is none'}")
    if gallery is not None:
        make_folder(gallery)
        for rank, (_, name, picture) in enumerate(strips, start=1):
            write_png(gallery / f"least-gain-{rank}-{name}.png", picture)
        notes.append(f"{len(strips)} strips (blurred, restored, sharp) of the least gain in {gallery}")
    rows: list[dict[str, Any]] = [
        {"frame": one.frame, "sequence": one.sequence, **{name: round(x, 4) for name, x in one.figures.items()}}
        for one in scores
    ]
    return Evaluation(_figures(scores), rows, [*notes, *problems], {"sequences": _by_sequence(scores)})


def _figures(scores: list[FrameScore]) -> dict[str, float]:
    intervals = over_sequences(scores)
    found = {"frames": float(len(scores)), "sequences": float(len({one.sequence for one in scores}))}
    for name, value in means(scores).items():
        found |= {name: value, f"{name}_low": intervals[name].low, f"{name}_high": intervals[name].high}
    return found


def _by_sequence(scores: list[FrameScore]) -> list[dict[str, Any]]:
    names = sorted({one.sequence for one in scores})
    groups = {name: [one for one in scores if one.sequence == name] for name in names}
    return [
        {"sequence": name, "frames": len(group), **{key: round(x, 4) for key, x in means(group).items()}}
        for name, group in groups.items()
    ]
