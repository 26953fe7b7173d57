"""Predictions on held-out images, as a user would make them."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from snellen.demo.photos import shown
from snellen.tasks.forgery.submission import image_sizes, validate_submission
from snellen.tasks.predict import predict_run
from snellen.tasks.target import open_target

__all__ = ["predict_held_out"]

_PICTURES = 6


def predict_held_out(run_file: Path, folder: Path, console: Console) -> list[tuple[Path, str]]:
    """Predict forged images and the real photos they were made from, and validate the submission.

    Returns:
        Overlays with captions.
    """
    out = folder / "predictions"
    every = sorted((folder / "data" / "val" / "forged").iterdir())
    forged = every[:: max(1, len(every) // _PICTURES)][:_PICTURES]
    inputs = [*forged, folder / "photos" / "held-out"]
    command = f"$ snellen predict {shown(run_file)} model.detector=keypoint IMAGES -o {shown(out)}"
    console.print(command, markup=False, soft_wrap=True)
    target = open_target(run_file, ["model.detector=keypoint"])
    report, files, _ = predict_run(target, inputs, out=out)
    for line in report.lines(limit=3):
        console.print(f"  {line}", markup=False)
    images = [*forged, *sorted((folder / "photos" / "held-out").iterdir())]
    problems = validate_submission(files[0], images=image_sizes(images))
    console.print(f"$ snellen forgery validate {shown(files[0])}: {len(problems)} problems", soft_wrap=True)
    return [(out / "overlays" / f"{path.stem}.png", f"{path.parent.name}/{path.name}") for path in images]
