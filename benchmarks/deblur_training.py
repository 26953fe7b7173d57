"""Does deblurring learn on two cores, and do spikes help? Panned photographs and real videos; held-out ones to judge.

Two networks of the same settings and seed are trained through the same path as `snellen train`, one without and one
with the spikes of each frame, and evaluated on sequences of photographs and of a video that neither has seen. Printed
are PSNR and its gain over the blurred input, the difference between both with a paired bootstrap interval over
sequences, and the processor seconds that each took; `--json FILE` writes the same. Processor seconds are the measure,
for this may run beside other work: 20 minutes on two cores are 2,400. A training that is done is not done again, so
that the two can be trained side by side (`--only with`, `--only without`) and compared by a third call.

    python benchmarks/deblur_training.py --out /tmp/deblur
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from skimage import data as photographs

from snellen.config.schema import RunConfig
from snellen.core.files import write_text
from snellen.data.synthesis.deblurring import synthesise_deblurring
from snellen.data.synthesis.exposure import ExposureSettings
from snellen.data.writing import write_png
from snellen.ops.bootstrap import bootstrap, mean_of
from snellen.tasks.catalogue import get
from snellen.tasks.target import target_of
from snellen.tasks.train import train_run

TRAIN = ("astronaut", "coffee", "immunohistochemistry", "brick", "grass", "page", "colorwheel")
HELD_OUT = ("chelsea", "camera", "coins", "gravel", "text", "hubble_deep_field")
"""Photographs of scikit-image with something sharp everywhere; grey ones are taken as RGB. No photograph is in both."""
DAVIS = ("bmx-trees", "tennis")
"""Videos below `SNELLEN_SHARED`, the first to learn from, the second held out; left out where they are not there."""
SIZE = (96, 96)
FRAMES = 10
SETTINGS = ExposureSettings(window=5, subframes=4, steps=8, threshold=1.2)


def photograph(name: str) -> npt.NDArray[np.uint8] | None:
    """A photograph as RGB, `None` where it has to be fetched and cannot be."""
    try:
        image = np.asarray(getattr(photographs, name)())
    except Exception:  # noqa: BLE001 - some are fetched from the network, which may not be there
        return None
    image = np.stack((image,) * 3, axis=2) if image.ndim == 2 else image[..., :3]
    return np.ascontiguousarray(image.astype(np.uint8))


def make(root: Path, *, repeats: int) -> tuple[int, int]:
    """Both splits, by `synthesise_deblurring`; returns how many sequences each has."""
    counts = []
    shared = Path(os.environ.get("SNELLEN_SHARED", "../shared")) / "data" / "video_davis"
    for split, names, video in (("train", TRAIN, DAVIS[0]), ("val", HELD_OUT, DAVIS[1])):
        source = root / f"{split}-sharp"
        found = {name: one for name in names if (one := photograph(name)) is not None}
        for turn in range(repeats if split == "train" else 2):
            for number, (name, image) in enumerate(found.items()):
                numbers = np.random.default_rng((split == "val", turn, number))
                write_frames(source / f"{name}_{turn}", pan(image, numbers))
        if (shared / video).is_dir():
            shutil.copytree(shared / video, source / video)
        report = synthesise_deblurring(source, root / split, settings=SETTINGS, val_share=0.0)
        counts.append(len(report.sequences))
    return counts[0], counts[1]


def pan(image: npt.NDArray[np.uint8], numbers: np.random.Generator) -> Iterator[npt.NDArray[np.uint8]]:
    """A camera that moves across a photograph in a curve, 1.5 to 3.5 pixels a frame."""
    height, width = image.shape[:2]
    angle, speed, turn = numbers.uniform(0, 2 * np.pi), numbers.uniform(1.5, 3.5), numbers.uniform(-0.15, 0.15)
    away = FRAMES * speed + 2
    room = [max(1.0, side / 2 - own / 2 - away) for side, own in ((width, SIZE[1]), (height, SIZE[0]))]
    x, y = (side / 2 + numbers.uniform(-one, one) for side, one in zip((width, height), room, strict=True))
    for _ in range(FRAMES):
        yield np.asarray(cv2.getRectSubPix(image, SIZE[::-1], (float(x), float(y))), np.uint8)
        x, y, angle = x + speed * np.cos(angle), y + speed * np.sin(angle), angle + turn


def write_frames(folder: Path, frames: Iterator[npt.NDArray[np.uint8]]) -> None:
    """Frames as PNG, numbered from 0."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        write_png(folder / f"{number:05}.png", frame)


def settings(root: Path, *, spikes: bool, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """A run; the two differ in the spikes alone."""
    shape = {"width": args.width, "blocks": args.blocks} if args.network == "light" else {}
    return {
        "task": "deblur",
        "name": f"{'with' if spikes else 'without'}-spikes-{seed}",
        "preset": "fast",
        "data": {
            "train": str(root / "train" / "train"),
            "val": str(root / "val" / "train"),
            "image_size": args.crop,
            "clip_length": args.clip,
            "clip_step": 2,
            "workers": 0,
            "val_clips": 12,
        },
        "model": {
            "name": args.network,
            "shape": shape,
            "spikes": "addition" if spikes else "none",
            "bins": 8,
            "drop_path": 0.0,
            "tile": {"side": 96, "frames": 6},
        },
        "loss": {"perceptual": {"weight": 0.0}},
        "optim": {
            "max_steps": args.steps,
            "epochs": 10_000,
            "evaluate_every": args.every,
            "batch_size": args.batch,
            "accumulate": 1,
            "lr": args.lr,
        },
        "precision": args.precision,
        "track": {"wandb": False},
        "seed": seed,
        "output": str(root / "runs"),
    }


def run(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Train, unless that was done before, and evaluate: figures, and the PSNR of held-out frames by their sequence."""
    target = target_of(config)
    done = Path(config["output"]) / config["name"] / "spent.json"
    if not done.is_file():
        started, wall = time.process_time(), time.perf_counter()
        folder, result = train_run(target)
        spent = {
            "steps": result.steps,
            "processor_seconds": round(time.process_time() - started, 1),
            "wall_seconds": round(time.perf_counter() - wall, 1),
            "report": str(folder / "report.html"),
        }
        write_text(done, json.dumps(spent))
    resolved: RunConfig = target.config
    found = get("deblur").evaluate(resolved, checkpoints=done.parent / "checkpoints", split="val")
    gains: dict[str, list[float]] = {}
    for row in found.rows:
        gains.setdefault(str(row["sequence"]), []).append(float(row["psnr"]))
    figures = {name: round(value, 3) for name, value in found.metrics.items()}
    return {**figures, **json.loads(done.read_text(encoding="utf-8"))}, gains


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("/tmp/snellen-deblur"))  # noqa: S108 - a default for people
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=6, help="epochs between evaluations")
    parser.add_argument("--network", default="light")
    parser.add_argument("--width", type=int, default=24)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--clip", type=int, default=6, help="frames of a clip")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--precision", default="bf16", help="fp32 where the processor computes bfloat16 by software")
    parser.add_argument("--repeats", type=int, default=24, help="sequences of each photograph to learn from")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", choices=("without", "with"), help="train one of the two, the other elsewhere")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not (args.out / "train").is_dir():
        print("sequences: {} to learn from, {} held out".format(*make(args.out, repeats=args.repeats)), flush=True)
    results: dict[str, Any] = {}
    gains: dict[str, list[dict[str, list[float]]]] = {"with": [], "without": []}
    for seed in args.seeds:
        for kind in ("without", "with") if args.only is None else (args.only,):
            name = f"{kind} spikes, seed {seed}"
            results[name], found = run(settings(args.out, spikes=kind == "with", seed=seed, args=args))
            gains[kind].append(found)
            one = results[name]
            print(
                f"{name}: PSNR {one['psnr']:.2f} dB, input {one['input_psnr']:.2f}, gain {one['gain']:.2f} "
                f"[{one['gain_low']:.2f}, {one['gain_high']:.2f}]; {one['steps']} steps, "
                f"{one['processor_seconds']:.0f} processor seconds ({one['wall_seconds']:.0f} s on the clock)",
                flush=True,
            )
    if args.only is None:
        results["margin"] = margin_of(gains["with"], gains["without"])
    if args.json is not None:
        write_text(
            args.json, json.dumps({"arguments": {k: str(v) for k, v in vars(args).items()}, **results}, indent=2)
        )


def margin_of(fed: list[dict[str, list[float]]], blind: list[dict[str, list[float]]]) -> dict[str, float]:
    """What spikes add, with its paired bootstrap interval over sequences; of a sequence, the mean over seeds."""
    names = sorted(fed[0])
    rows = [np.mean([np.mean(a[name]) - np.mean(b[name]) for a, b in zip(fed, blind, strict=True)]) for name in names]
    margin = bootstrap(mean_of(np.array(rows)), len(rows))
    print(f"spikes: {margin} dB more, over {len(rows)} held-out sequences (paired bootstrap, 95%)", flush=True)
    return {"value": margin.value, "low": margin.low, "high": margin.high, "sequences": len(rows)}


if __name__ == "__main__":
    main()
