"""A small but real recipe, picklable: which half of a generated picture is brighter."""

from __future__ import annotations

import copy
import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from snellen.core.finding import Finding, Level
from snellen.core.run_folder import RunFolder
from snellen.core.step import Action, Step, Verdict
from snellen.engine.recipe import Batch, StepOutput
from snellen.errors import DataError


class Pictures(Dataset[dict[str, Any]]):
    """Noise of side 12 whose left or right half is brighter; all three random generators take part."""

    def __init__(self, samples: int, *, broken: int | None = None) -> None:
        self.samples = samples
        self.broken = broken

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.broken:
            raise DataError(f"picture {index} is torn", hint="copy it again")
        image = torch.rand(3, 12, 12) * random.uniform(0.4, 0.6) + float(np.random.uniform(0, 0.1))  # noqa: NPY002 - the global generator is what is tested
        label = index % 2
        image[:, :, 6 * label : 6 * label + 6] += 0.3
        return {"file": f"{index}.png", "image": image, "label": label, "index": index}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(8 * 100, 2)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(image).flatten(1)))


class PlainNetwork(nn.Module):
    """Without batch norm and dropout, so that a step does not depend on how its samples are grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3))
        self.head = nn.Linear(800, 2)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image).relu().flatten(1))


class LogOfNegative(nn.Module):
    """Passes its input on, until at one call it takes the logarithm of a negative number."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, value: Tensor) -> Tensor:
        self.calls += self.training
        return value + torch.log(-value.abs() - 1) if self.training and int(self.calls) > self.at else value


class Accuracy:
    def __init__(self) -> None:
        self.right: list[float] = []
        self.losses: list[float] = []

    def update(self, outputs: Tensor, batch: Batch) -> None:
        self.right += (outputs.argmax(1) == batch["label"]).float().tolist()
        self.losses += F.cross_entropy(outputs, batch["label"], reduction="none").tolist()

    def state(self) -> Any:
        return self.right, self.losses

    def merge(self, states: Sequence[Any]) -> None:
        self.right = [value for right, _ in states for value in right]
        self.losses = [value for _, losses in states for value in losses]

    def compute(self) -> dict[str, float]:
        return {
            "accuracy": sum(self.right) / len(self.right),
            "loss": sum(self.losses) / len(self.losses),
            "samples": len(self.right),
        }


class Tiny:
    """The recipe; `seen` collects the indices trained on, in order."""

    headline = "loss"
    mode = "min"

    def __init__(
        self,
        samples: int = 32,
        *,
        network: type[nn.Module] = Network,
        validation: int = 8,
        broken: int | None = None,
        insert: nn.Module | None = None,
    ) -> None:
        self.samples, self.network, self.validation, self.broken = samples, network, validation, broken
        self.insert = insert
        self.seen: list[int] = []

    def build_model(self) -> nn.Module:
        model = self.network()
        if self.insert is not None:
            model.features.append(copy.deepcopy(self.insert))  # type: ignore[union-attr,operator]
        return model

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return [
            {"params": list(model.features.parameters()), "lr_scale": 0.5},  # type: ignore[union-attr]
            {"params": list(model.head.parameters()), "weight_decay": 0.0},  # type: ignore[union-attr]
        ]

    def train_dataset(self) -> Dataset[Any]:
        return Pictures(self.samples, broken=self.broken)

    def evaluation_dataset(self, split: str) -> Dataset[Any] | None:
        return Pictures(self.validation) if split == "val" and self.validation else None

    def collate(self, samples: Sequence[Any]) -> Batch:
        return {
            "files": [sample["file"] for sample in samples],
            "image": torch.stack([sample["image"] for sample in samples]),
            "label": torch.tensor([sample["label"] for sample in samples]),
            "index": torch.tensor([sample["index"] for sample in samples]),
        }

    def training_step(self, model: nn.Module, batch: Batch) -> StepOutput:
        self.seen += batch["index"].tolist()
        logits = model(batch["image"])
        return StepOutput(F.cross_entropy(logits, batch["label"]), {"margin": logits.diff(dim=1).abs().mean()})

    def evaluation_step(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch["image"])

    def new_metrics(self) -> Accuracy:
        return Accuracy()


class OnlyOneRankBreaks(Tiny):
    """A recipe whose `LogOfNegative` breaks on the second rank only."""

    def build_model(self) -> nn.Module:
        model = super().build_model()
        if os.environ.get("LOCAL_RANK") == "0":
            model.features[-1].at = 10**6  # type: ignore[index,union-attr]
        return model


class Diary:
    """An observer that notes each step and its files, one JSON line each.

    Args:
        path: The file; ranks beyond the first add their number to its name.
        action: What it asks for at step `at`.
        pause: Seconds to wait in each step.
    """

    def __init__(self, path: Path, *, action: Action = Action.CONTINUE, at: int = -1, pause: float = 0.0) -> None:
        self.path, self.action, self.at, self.pause = path, action, at, pause

    def observe(self, step: Step) -> Sequence[Verdict]:
        time.sleep(self.pause)
        rank = os.environ.get("LOCAL_RANK", "0")
        path = self.path if rank == "0" else self.path.with_name(f"{self.path.name}.{rank}")
        with path.open("a") as file:
            file.write(json.dumps({"step": step.step, "epoch": step.epoch, "files": list(step.files)}) + "\n")
        if step.step != self.at:
            return ()
        return (Verdict(self.action, Finding("test-rule", Level.ERROR, "the test says so")),)

    def lines(self, rank: int = 0) -> list[dict[str, Any]]:
        path = self.path if rank == 0 else self.path.with_name(f"{self.path.name}.{rank}")
        return [json.loads(line) for line in path.read_text().splitlines()]


def run_folder(path: Path) -> RunFolder:
    """The run's folder as a command would get it: made, or opened again."""
    return RunFolder.open(path) if path.joinpath("format.json").exists() else RunFolder.create(path.parent, path.name)
