"""Training that is killed and resumed, and the comparison that shows that it learned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from snellen.core.files import read_json_lines
from snellen.demo.photos import shown
from snellen.engine.checkpoint import load_weights
from snellen.errors import TrainingStopped
from snellen.models.forgery.detection import Detection, ForgeryDetector, ImageArray
from snellen.models.forgery.fusion import FusedDetector
from snellen.models.forgery.keypoint.detector import KeypointDetector
from snellen.tasks.forgery.config import ForgeryRun
from snellen.tasks.forgery.data import samples_of
from snellen.tasks.forgery.evaluate import evaluate_detector
from snellen.tasks.forgery.metrics import ForgeryMetrics, compare
from snellen.tasks.forgery.model import build_network, net_detector
from snellen.tasks.target import open_target
from snellen.tasks.train import resume_run

__all__ = ["Learned", "compare_detectors", "train_through_a_kill"]

_KILL_AT_STEP = 30
_PATIENCE_SECONDS = 300.0
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Learned:
    """A finished training.

    Args:
        run_file: What was trained.
        folder: The run's folder.
        killed_at: Last step that the killed process had written down.
        steps: Optimiser steps in the end.
    """

    run_file: Path
    folder: Path
    killed_at: int
    steps: int


def train_through_a_kill(run_file: Path, console: Console) -> Learned:
    """Train in another process, kill it with SIGKILL, and resume in this one.

    Raises:
        TrainingStopped: The process ended or hung before it could be killed.
    """
    folder = run_file.parent.parent / "runs" / "demo"
    console.print(f"$ snellen train {shown(run_file)}")
    command = [sys.executable, "-m", "snellen", "train", str(run_file), "--no-check"]
    log = run_file.parent.parent / "train.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        step = _wait_for_step(process, folder / "metrics.jsonl", log)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    console.print(f"killed with SIGKILL after step {step}")
    console.print(f"$ snellen resume {shown(folder)}")
    _, result = resume_run(folder)
    console.print(f"resumed and finished: {result.steps} steps")
    return Learned(run_file, folder, step, result.steps)


def _wait_for_step(process: subprocess.Popen[bytes], metrics: Path, log: Path) -> int:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        step = _last_step(metrics)
        if step >= _KILL_AT_STEP:
            return step
        if process.poll() is not None:
            break
        time.sleep(_POLL_SECONDS)
    process.kill()
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise TrainingStopped(f"training did not reach step {_KILL_AT_STEP}:\n{tail}", hint=f"snellen explain {log}")


def _last_step(metrics: Path) -> int:
    return max((int(record.get("step", 0)) for record in read_json_lines(metrics)), default=0)


class _Empty:
    """Finds nothing, ever: the all-background mask."""

    name = "all background"

    def detect(self, image: ImageArray) -> Detection:
        """An empty mask."""
        size = (image.shape[0], image.shape[1])
        return Detection(image_size=size, mask=np.zeros(size, dtype=bool), score=0.0)


def compare_detectors(learned: Learned, console: Console) -> list[dict[str, object]]:
    """Evaluate every detector on the held-out images, and the trained network against the untrained one.

    Returns:
        One row for each detector: mean pixel F1 over forged images with its 95% interval, and image-level rates.
    """
    config = open_target(learned.folder).config
    if not isinstance(config, ForgeryRun):
        raise TypeError(f"expected a ForgeryRun, given {type(config).__name__}")
    samples = samples_of(config.data.val, key="data.val")
    torch.manual_seed(config.seed)
    untrained = net_detector(build_network(config.model), config.model)
    network = build_network(config.model)
    load_weights(network, learned.folder / "checkpoints", which="best")
    trained = net_detector(network, config.model)
    keypoint = KeypointDetector()
    detectors: dict[str, ForgeryDetector] = {
        "all background": _Empty(),
        "net, untrained": untrained,
        "net, trained": trained,
        "keypoint": keypoint,
        "fused": FusedDetector(keypoint, trained, weight=config.model.net_weight, threshold=config.model.threshold),
    }
    collected: dict[str, ForgeryMetrics] = {}
    rows: list[dict[str, object]] = []
    for name, detector in detectors.items():
        collected[name], _ = evaluate_detector(detector, samples, max_pixels=int(config.model.max_pixels))
        summary = collected[name].compute()
        rows.append(
            {
                "detector": name,
                "pixel F1 of forged [95%]": str(summary.mean_forged["f1"]),
                "found": str(summary.detection_rate),
                "false alarms": str(summary.false_alarm_rate),
            }
        )
        console.print(f"  {name:16} pixel F1 {summary.mean_forged['f1']}", markup=False)
    forged = {name: [row for row in metrics.rows if row.forged] for name, metrics in collected.items()}
    gain = compare(forged["net, untrained"], forged["net, trained"])
    console.print(f"trained minus untrained: {gain}", markup=False)
    return rows
