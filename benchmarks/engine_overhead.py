"""What the engine costs over a bare PyTorch loop, beside Lightning's Trainer, in one run.

All three train the same small convolutional network on the same tensors, with AdamW, clipping and a cosine schedule.
The bare loop does nothing else. The engine runs with its defaults: metrics, TensorBoard, the guard against NaN, the
seeding of every sample, checkpoints. Lightning's Trainer runs with TensorBoard, checkpoints and clipping, its
defaults too, but without its progress bar. Repetitions are interleaved; medians are compared, of the wall clock and,
for a machine that others use as well, of the processor time of this process, which CPU runs spend on one thread.

    python benchmarks/engine_overhead.py --steps 60 --repeats 5 --json engine_overhead.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from snellen.core.run_folder import RunFolder
from snellen.core.step import Step, Verdict
from snellen.engine.recipe import Batch, StepOutput
from snellen.engine.settings import TrainSettings
from snellen.engine.train import train

Seconds: TypeAlias = dict[str, float]
"""By clock: `wall` and `processor`."""

WARM_UP = 5
"""Steps at the beginning of a run whose time is not counted."""


@dataclass(frozen=True, slots=True)
class Size:
    """Width and depth of the network, side of the images and samples of a batch."""

    width: int
    depth: int
    side: int
    batch: int


SIZES = {"cpu": {"toy": Size(8, 2, 16, 4), "realistic": Size(32, 4, 48, 8)}}
SIZES["cuda"] = {"toy": Size(8, 2, 16, 4), "realistic": Size(256, 8, 128, 32)}


class Network(nn.Module):
    """Convolutions with batch norm, then a mean and a linear layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for _ in range(size.depth):
            layers += [nn.Conv2d(channels, size.width, 3, padding=1), nn.BatchNorm2d(size.width), nn.ReLU()]
            channels = size.width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, 2) of images (batch, 3, height, width)."""
        logits: Tensor = self.head(self.features(image).mean((2, 3)))
        return logits


class Images(Dataset[dict[str, Any]]):
    """Noise, made once, so that reading a sample costs next to nothing."""

    def __init__(self, size: Size, samples: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand((64, 3, size.side, size.side), generator=generator)
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"file": f"{index}.png", "image": self.images[index % 64], "label": index % 2}


def collate(samples: Sequence[dict[str, Any]]) -> Batch:
    """A batch of samples."""
    return {
        "files": [sample["file"] for sample in samples],
        "image": torch.stack([sample["image"] for sample in samples]),
        "label": torch.tensor([sample["label"] for sample in samples]),
    }


class Clock:
    """Notes a moment of every step."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def tick(self) -> None:
        """Note the present."""
        self.times.append((time.perf_counter(), time.process_time()))

    def per_step(self) -> Seconds:
        """Mean of the steps after the warm-up, from tick to tick."""
        first, last = self.times[WARM_UP], self.times[-1]
        steps = len(self.times) - WARM_UP - 1
        return {"wall": (last[0] - first[0]) / steps, "processor": (last[1] - first[1]) / steps}


def bare(size: Size, steps: int, device: str, _: Path) -> Seconds:
    """A loop as one would write it down."""
    model = Network(size).to(device).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    loader = DataLoader(
        Images(size, steps * size.batch), size.batch, shuffle=True, collate_fn=collate, pin_memory=device == "cuda"
    )
    clock = Clock()
    for batch in loader:
        clock.tick()
        images, labels = batch["image"].to(device, non_blocking=True), batch["label"].to(device, non_blocking=True)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        # Here and not before the backward pass: gradients that live through the forward pass cost the cache some 5%.
        optimiser.zero_grad(set_to_none=True)
        if device == "cuda":
            # A loop that shows its loss waits for it; without, the times would be those of launching kernels.
            loss.item()
    return clock.per_step()


class BenchmarkRecipe:
    """The same as a recipe."""

    headline = "none"
    mode: Any = "max"

    def __init__(self, size: Size, steps: int) -> None:
        self.size, self.steps = size, steps

    def build_model(self) -> nn.Module:
        """The network."""
        return Network(self.size)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """One group."""
        return [{"params": list(model.parameters())}]

    def train_dataset(self) -> Images:
        """As many samples as the steps take."""
        return Images(self.size, self.steps * self.size.batch)

    def evaluation_dataset(self, split: str) -> None:
        """None: only training is measured."""

    def collate(self, samples: Sequence[Any]) -> Batch:
        """A batch of samples."""
        return collate(samples)

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        """Cross-entropy."""
        return StepOutput(F.cross_entropy(model(batch["image"]), batch["label"]))

    def evaluation_step(self, model: nn.Module, batch: Batch) -> Any:
        """Not used."""
        raise NotImplementedError

    def new_metrics(self) -> Any:
        """Not used."""
        raise NotImplementedError


class Ticking:
    """An observer, as a guard would be."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def observe(self, step: Step) -> Sequence[Verdict]:  # noqa: ARG002 - the protocol's signature
        """Note the present."""
        self.clock.tick()
        return ()


def engine(size: Size, steps: int, device: str, place: Path) -> Seconds:
    """This package's engine with its defaults."""
    clock = Clock()
    settings = TrainSettings(epochs=1, batch_size=size.batch, lr=1e-3, accelerator=device)  # type: ignore[arg-type]
    with RunFolder.create(place) as folder:
        train(BenchmarkRecipe(size, steps), settings, folder, observers=[Ticking(clock)])
    return clock.per_step()


def lightning(size: Size, steps: int, device: str, place: Path) -> Seconds:
    """Lightning's Trainer with its defaults, TensorBoard and clipping."""
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import TensorBoardLogger

    clock = Clock()

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Network(size)

        def training_step(self, batch: Batch, _: int) -> Tensor:
            clock.tick()
            loss = F.cross_entropy(self.network(batch["image"]).float(), batch["label"])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            optimiser = torch.optim.AdamW(self.parameters(), lr=1e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if device == "cuda" else "32-true",
        logger=TensorBoardLogger(str(place), name="lightning"),
        log_every_n_steps=10,
        gradient_clip_val=1.0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(place),
    )
    loader = DataLoader(
        Images(size, steps * size.batch), size.batch, shuffle=True, collate_fn=collate, pin_memory=device == "cuda"
    )
    trainer.fit(Module(), loader)
    return clock.per_step()


RUNNERS: dict[str, Callable[[Size, int, str, Path], Seconds]] = {
    "bare": bare,
    "snellen": engine,
    "lightning": lightning,
}


def compare(size: Size, steps: int, repeats: int, device: str) -> dict[str, Any]:
    """Medians of the time per step, and ratios to the bare loop.

    Which runner comes first changes from repetition to repetition; ratios are taken within one, where the machine is
    as busy for all, and their median is reported.
    """
    times: dict[str, list[Seconds]] = {name: [] for name in RUNNERS}
    names = list(RUNNERS)
    for repeat in range(repeats + 1):
        for name in names[repeat % 3 :] + names[: repeat % 3]:
            with tempfile.TemporaryDirectory() as place:
                seconds = RUNNERS[name](size, steps, device, Path(place))
            if repeat:  # the first one pays for imports and caches
                times[name].append(seconds)
    return {clock: _summary(times, clock) for clock in ("wall", "processor")}


def _summary(times: dict[str, list[Seconds]], clock: str) -> dict[str, Any]:
    own = {name: [1000 * seconds[clock] for seconds in values] for name, values in times.items()}
    return {
        "milliseconds_per_step": {name: statistics.median(values) for name, values in own.items()},
        "ratio_to_bare": {
            name: statistics.median(value / base for value, base in zip(values, own["bare"], strict=True))
            for name, values in own.items()
        },
        "all_milliseconds": own,
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--toy-steps", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {"device": options.device, "torch": torch.__version__, "repeats": options.repeats}
    for name, size in SIZES[options.device].items():
        steps = options.toy_steps if name == "toy" else options.steps
        result[name] = compare(size, steps, options.repeats, options.device)
        for clock, runner in itertools.product(result[name], RUNNERS):
            milliseconds = result[name][clock]["milliseconds_per_step"][runner]
            ratio = result[name][clock]["ratio_to_bare"][runner]
            print(f"{name:10} {clock:10} {runner:10} {milliseconds:9.3f} ms per step   {ratio:6.3f} x bare")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
