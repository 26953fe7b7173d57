"""Blurred videos of any length and size into sharp frames, in bounded memory; a second call goes on where one ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from snellen.config.schema import RunConfig
from snellen.core.file_kinds import is_image
from snellen.data.reading import read_image
from snellen.data.writing import make_folder, write_png
from snellen.engine.predict import StreamReport, stream
from snellen.errors import DataError, RunFolderError, UsageError
from snellen.ops.image_quality import to_bytes
from snellen.ops.video_tiling import restored_frames
from snellen.report.progress import note
from snellen.tasks.deblur.config import DeblurRun
from snellen.tasks.deblur.data import frame_reader
from snellen.tasks.deblur.inputs import Frames, Video, find_videos
from snellen.tasks.deblur.model import Padded, load_trained, tiling_of
from snellen.tasks.deblur.page import prediction_page
from snellen.tasks.deblur.recipe import strip

__all__ = ["DeblurPredictor", "predict_all"]

LEDGER = "predictions.jsonl"
_SHOWN = 3
_WAIT = 10.0


class DeblurPredictor:
    """Writes `frames/NAME/NNNNNNNN.png`, `strips/NAME-NNNNNNNN.png` and, when asked, `NAME.mp4` below a folder.

    Args:
        network: On its device.
        config: Of the run.
        out: The folder.
        quiet: Say nothing while it works.
    """

    def __init__(self, network: Padded, config: DeblurRun, *, out: Path, quiet: bool = False) -> None:
        self.network, self.config, self.out, self.quiet = network, config, out, quiet

    def predict(self, video: Video) -> dict[str, Any]:
        """Restore one video; frames that are there already are kept.

        Raises:
            DataError: It cannot be read.
            RunFolderError: The frames cannot be written.
        """
        length, sizes = _measured(video)
        if len(sizes) > 1:
            raise DataError(f"{video.source}: frames of {video.name} have the sizes {sizes}", slug="clip-size-mismatch")
        place = make_folder(self.out / "frames" / video.name)
        first = _done(place, length)
        shown = {length * (2 * number + 1) // (2 * _SHOWN) for number in range(_SHOWN)}
        started, told = time.perf_counter(), time.monotonic()
        blurred = Frames(video)
        with torch.inference_mode():
            for number, made in enumerate(self._restored(video, length, first), start=first):
                write_png(place / f"{number:08}.png", made)
                if number in shown:
                    before = blurred.read(number, number + 1)[0][0]
                    write_png(make_folder(self.out / "strips") / f"{video.name}-{number:08}.png", strip(before, made))
                if not self.quiet and time.monotonic() - told > _WAIT:
                    told = time.monotonic()
                    note(f"{video.name}: {number + 1} of {length} frames")
        seconds = time.perf_counter() - started
        record: dict[str, Any] = {
            "name": video.name,
            "frames": length,
            "kept": first,
            "size": list(sizes[0]),
            "frames_per_second": round((length - first) / max(seconds, 1e-9), 3),
            "notes": list(video.notes),
        }
        if self.config.predict.video:
            rate = video.rate or self.config.predict.fps
            record["video"] = str(_write_video(place, self.out / f"{video.name}.mp4", rate))
        return record

    def _restored(self, video: Video, length: int, first: int) -> Iterator[Any]:
        device = next(self.network.parameters()).device
        frames, scale = Frames(video), float(self.config.data.voxel_scale)

        def read(start: int, stop: int) -> tuple[Tensor, ...]:
            read = frames.read(start, stop)
            clip = torch.from_numpy(np.stack([pixels for pixels, _ in read])).permute(0, 3, 1, 2)
            given = [clip[None].to(device).float().div(255)]
            grids = [grid for _, beside in read if beside is not None and (grid := beside()) is not None]
            if grids:
                given.append(torch.from_numpy(np.stack(grids))[None].to(device).float().div(scale))
            return tuple(given)

        tiling = tiling_of(self.config.model.tile)
        for frame in restored_frames(self.network, read, length, tiling=tiling, first=first):
            yield to_bytes(frame[0].float().cpu().numpy())


def _measured(video: Video) -> tuple[int, list[tuple[int, int]]]:
    """How many frames, and of which sizes `(height, width)`.

    A video's own count is often wrong, so the frames are counted; without spikes that costs decoding alone.
    """
    length, sizes = 0, dict[tuple[int, int], None]()
    for pixels, _ in video.open():
        length += 1
        sizes[pixels.shape[0], pixels.shape[1]] = None
    if not length:
        raise DataError(f"{video.source} holds no frame", slug="empty-dataset")
    return length, list(sizes)


def _done(place: Path, length: int) -> int:
    """Frames that are there from the first on; each was written whole or not at all."""
    return next((number for number in range(length) if not (place / f"{number:08}.png").is_file()), length)


def _write_video(place: Path, path: Path, fps: float) -> Path:
    frames = sorted(one for one in place.iterdir() if is_image(one.name))
    first = read_image(frames[0]).pixels
    beside = path.with_name(f".{path.stem}.partial.mp4")
    writer = cv2.VideoWriter(str(beside), cv2.VideoWriter.fourcc(*"mp4v"), fps, (first.shape[1], first.shape[0]))
    try:
        if not writer.isOpened():
            raise RunFolderError(f"{path} cannot be written as a video", hint="predict.video=false keeps the frames")
        for frame in frames:
            writer.write(cv2.cvtColor(read_image(frame).pixels, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    beside.replace(path)
    return path


def predict_all(
    config: RunConfig,
    inputs: Sequence[Path],
    *,
    out: Path,
    limit: int | None,
    engine: str,
    quiet: bool,
    checkpoints: Path | None = None,
) -> tuple[StreamReport, list[Path]]:
    """Restore all videos, one after the other.

    Args:
        config: Of the run.
        inputs: Videos, folders of frames, folders of sequences.
        out: Where everything is written.
        limit: Stop after this many videos.
        engine: `local` alone.
        quiet: Show no progress.
        checkpoints: Of the run.

    Raises:
        UsageError: Another engine.
        DataError: There is no video.
        WeightsError: There are no trained weights.
        Interrupted: Ctrl-C; the frames that were done are kept.
    """
    if not isinstance(config, DeblurRun):
        raise TypeError(f"expected a DeblurRun, given {type(config).__name__}")
    if engine != "local":
        raise UsageError(f"the task deblur has no engine {engine!r}", hint="--engine local")
    videos, problems = find_videos(inputs, frame_reader(config))
    for one in (*problems, *(f"{video.name}: {said}" for video in videos for said in video.notes)):
        note(one)
    make_folder(out)
    predictor = DeblurPredictor(load_trained(config.model, checkpoints), config, out=out, quiet=quiet)
    where = str(checkpoints or config.model.weights)
    report = stream(
        videos,
        predictor.predict,
        ledger=out / LEDGER,
        limit=limit,
        identity=f"deblur: {config.model.model_dump_json()}: {where}",
    )
    return report, [prediction_page(out, list(report.records()), problems)]
