"""A small classifier from scratch on 3,000 images of CIFAR-10: `snellen train` beside a loop of timm's own parts.

    python benchmarks/classify_cifar10.py --peer-recipe augmented    60 epochs: 10 minutes of two idle cores
    python benchmarks/classify_cifar10.py --epochs 2                 a first impression

Both train the same network for the same number of epochs with batches of the same size, each in a process of its own
with one thread, at the same time: whatever else the machine does, slows both. The learning rate of `snellen` and the
size of batches were chosen on a fifth of the training images, held out. Channels come last in memory on both sides.
The peer is what
timm's `train.py` does by default, written plainly: `create_transform`, `create_optimizer_v2`, `create_scheduler_v2`,
label smoothing 0.1, SGD with momentum at 0.1 for 256 images; `--peer-recipe moderate` cuts at least half of each image
and not 8%, `augmented` adds RandAugment and mixup. Neither looks at the test images before the end: both are judged by
their last weights, on all 1,000.
"""

# mypy: allow-untyped-calls
# The peers are untyped.

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from snellen._env import shared_folder
from snellen.models.backbones.classifiers import Architecture, build_classifier
from snellen.ops.bootstrap import bootstrap, mean_of

__all__ = ["main"]

OPTIONS = {"layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128)}
ARCHITECTURE = Architecture("resnet18", 10, 32, small_stem=True, options=OPTIONS)
BATCH = 32


def seconds() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def train_ours(data: Path, epochs: int, seed: int, work: Path) -> dict[str, Any]:
    """`snellen train` with the defaults of the task; validation is left out, so that nothing is chosen by it."""
    from snellen.config.write import save  # noqa: F401 - loads what `train` will need before the clock starts
    from snellen.tasks.classify.evaluate import answer_split
    from snellen.tasks.target import target_of
    from snellen.tasks.train import train_run

    target = target_of(
        {
            "task": "classify",
            "name": "ours",
            "data": {"train": str(data / "train"), "test": str(data / "test"), "workers": 0},
            "model": {"name": "resnet18", "pretrained": False, "options": {k: list(v) for k, v in OPTIONS.items()}},
            "optim": {"epochs": epochs, "batch_size": BATCH, "lr": 0.008},
            "track": {"tensorboard": False},
            "seed": seed,
            "output": str(work),
        }
    )
    wall, used = time.perf_counter(), seconds()
    folder, result = train_run(target)
    spent = time.perf_counter() - wall, seconds() - used
    done = answer_split(target.config, folder / "checkpoints", "test")  # type: ignore[arg-type]
    right = [one.answer == one.truth for one in sorted(done.answers, key=lambda one: one.file)]
    return {"right": right, "wall": spent[0], "processor": spent[1], "steps": result.steps}


def train_peer(data: Path, epochs: int, seed: int, recipe: str) -> dict[str, Any]:
    """A loop as `timm/train.py` has it, without what only many GPUs need."""
    from timm.data import ImageDataset, Mixup, create_transform  # type: ignore[attr-defined]
    from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy  # type: ignore[attr-defined]
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
    from timm.scheduler import create_scheduler_v2  # type: ignore[attr-defined]

    wall, used = time.perf_counter(), seconds()
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - timm's mixup draws from the global state
    augmented = recipe == "augmented"
    scale = (0.08, 1.0) if recipe == "default" else (0.5, 1.0)
    varied = create_transform(
        (3, 32, 32), is_training=True, scale=scale, auto_augment="rand-m5-mstd0.5" if augmented else None
    )
    train = ImageDataset(str(data / "train"), transform=varied)
    loader = DataLoader(train, BATCH, shuffle=True, drop_last=True)
    model = build_classifier(ARCHITECTURE).train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stub lacks it
    optimiser = create_optimizer_v2(model, opt="sgd", lr=0.1 * BATCH / 256, momentum=0.9, weight_decay=2e-5)
    schedule, _ = create_scheduler_v2(
        optimiser, sched="cosine", num_epochs=epochs, warmup_epochs=min(5, epochs // 4), warmup_lr=1e-5,
        updates_per_epoch=len(loader), step_on_epochs=False,
    )  # fmt: skip
    mixup = Mixup(mixup_alpha=0.2, label_smoothing=0.1, num_classes=10) if augmented else None
    loss_of: nn.Module = SoftTargetCrossEntropy() if mixup else LabelSmoothingCrossEntropy(0.1)
    steps = 0
    for _ in range(epochs):
        for images, labels in loader:
            given = mixup(images, labels) if mixup else (images, labels)
            loss = loss_of(model(given[0].contiguous(memory_format=torch.channels_last)), given[1])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            steps += 1
            schedule.step_update(num_updates=steps)
    spent = time.perf_counter() - wall, seconds() - used
    test = ImageDataset(str(data / "test"), transform=create_transform((3, 32, 32), crop_pct=1.0))
    model.eval()
    right: dict[str, bool] = {}
    with torch.inference_mode():
        for first, (images, labels) in enumerate(DataLoader(test, 200)):
            for row, hit in enumerate((model(images).argmax(1) == labels).tolist()):
                right[test.filename(first * 200 + row)] = hit
    return {"right": [right[name] for name in sorted(right)], "wall": spent[0], "processor": spent[1], "steps": steps}


def main() -> None:
    """Run both and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=None, help="folder with train/ and test/ of class folders")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer-recipe", choices=("default", "moderate", "augmented"), default="default")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file")
    parser.add_argument("--part", choices=("ours", "peer"), default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    data = given.data or shared_folder() / "data" / "cifar10"
    if not data.is_dir():
        parser.error("there is no data: give --data, or set SNELLEN_SHARED")
    if given.part is not None:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as work:
            found = (
                train_ours(data, given.epochs, given.seed, Path(work))
                if given.part == "ours"
                else train_peer(data, given.epochs, given.seed, given.peer_recipe)
            )
        print(json.dumps(found))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    shared_arguments = ["--data", str(data), "--epochs", str(given.epochs), "--seed", str(given.seed)]
    shared_arguments += ["--peer-recipe", given.peer_recipe]
    running = {
        part: subprocess.Popen(
            [sys.executable, __file__, "--part", part, *shared_arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )
        for part in ("ours", "peer")
    }  # fmt: skip
    found = {part: json.loads(process.communicate()[0].strip().splitlines()[-1]) for part, process in running.items()}
    report(found, given)


def report(found: dict[str, dict[str, Any]], given: argparse.Namespace) -> None:
    """Print and keep the figures."""
    right = {part: np.array(one["right"], dtype=np.float64) for part, one in found.items()}
    summary: dict[str, Any] = {"epochs": given.epochs, "seed": given.seed, "peer_recipe": given.peer_recipe}
    print(f"{'':6} {'accuracy, 95% interval':26} {'steps':>6} {'processor s':>12} {'wall s':>8}")
    for part, one in found.items():
        interval = bootstrap(mean_of(right[part]), len(right[part]))
        print(f"{part:6} {interval!s:26} {one['steps']:6} {one['processor']:12.0f} {one['wall']:8.0f}")
        summary[part] = {key: value for key, value in one.items() if key != "right"}
        summary[part] |= {"accuracy": interval.value, "low": interval.low, "high": interval.high}
    gain = bootstrap(mean_of(right["ours"] - right["peer"]), len(right["ours"]))
    print(f"gain   {gain!s} (paired over the {len(right['ours'])} test images)")
    summary["gain"] = {"value": gain.value, "low": gain.low, "high": gain.high}
    if given.out is not None:
        given.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
