"""Heads on vectors: what is learned, and the card that goes with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snellen.data.class_map import ClassMap
from snellen.engine.checkpoint import load_weights, read_card
from snellen.engine.store import Kind
from snellen.errors import WeightsError
from snellen.models.backbones.embedders import Embedder
from snellen.tasks.probe.config import HeadConfig, ProbeRun

__all__ = ["ProbeNet", "build_probe", "load_probe"]

_ROWS = 4096


class ProbeNet(nn.Module):
    """Any number of heads on one vector.

    Args:
        card: What it is, as plain data: `width`, `normalise`, and for each head `kind`, `hidden`, `dropout`, `classes`.
            Kept with its weights, so that they can be used without the data that they were learned from.

    Attributes:
        classes: Class map of each head.
        mean: Of each number of a vector over the training set; 0 where nothing is standardised.
        scale: What it is multiplied with then.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, card: Mapping[str, Any]) -> None:
        super().__init__()
        self.card = dict(card)
        width = int(card["width"])
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.classes = {name: ClassMap.from_dict(head["classes"]) for name, head in card["heads"].items()}
        # A list, since a head may be called as a method of nn.ModuleDict is.
        self.heads = nn.ModuleList(_head(head, width, len(self.classes[name])) for name, head in card["heads"].items())

    def forward(self, vectors: Tensor) -> dict[str, Tensor]:
        """Logits of each head.

        Args:
            vectors: Shape `(B, width)`.
        """
        vectors = (vectors - self.mean) * self.scale
        if self.card["normalise"] == "unit":
            vectors = F.normalize(vectors, dim=1)
        return {name: head(vectors) for name, head in zip(self.classes, self.heads, strict=True)}

    def standardise(self, vectors: Tensor) -> None:
        """Take mean and deviation from the training set; a number that never changes stays as it is."""
        deviation, mean = torch.std_mean(vectors.double(), dim=0, correction=0)
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(deviation > 1e-8, 1 / deviation.clamp_min(1e-8), 1.0))

    @torch.no_grad()
    def probabilities(self, vectors: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Probabilities of each head's classes, shape `(rows, classes)`.

        Args:
            vectors: Shape `(rows, width)`.
        """
        parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in self.classes}
        for start in range(0, max(1, len(vectors)), _ROWS):
            # A copy: rows that were read from disk may not be written to, which torch does not take.
            for name, logits in self(torch.from_numpy(vectors[start : start + _ROWS].copy())).items():
                parts[name].append(logits.softmax(dim=1).numpy())
        return {name: np.concatenate(part) for name, part in parts.items()}


def build_probe(config: ProbeRun, embedder: Embedder, classes: Mapping[str, ClassMap]) -> ProbeNet:
    """New heads for a run.

    Args:
        config: Its settings.
        embedder: The frozen backbone.
        classes: Class map of each head.
    """
    heads = {name: _described(head, classes[name]) for name, head in config.heads.items()}
    return ProbeNet(
        {
            "backbone": embedder.name,
            "fingerprint": embedder.fingerprint,
            "width": embedder.width,
            "normalise": config.normalise,
            "heads": heads,
        }
    )


def load_probe(checkpoints: Path | None, embedder: Embedder) -> tuple[ProbeNet, tuple[str, ...]]:
    """The heads of a trained run, with the class maps that they were trained with.

    Args:
        checkpoints: The folder `checkpoints/` of the run.
        embedder: The backbone that the run file says now.

    Returns:
        The heads in evaluation mode, and what a reader must know.

    Raises:
        WeightsError: There is no trained run, it holds no heads, or its backbone is another one.
    """
    if checkpoints is None:
        raise WeightsError(
            "there are no trained heads: their answers would be noise",
            hint="train first, then give the run's folder: snellen train RUN.yaml",
            slug="silent-random-weights",
        )
    which: Kind = "best" if (checkpoints / "best").is_dir() else "last"
    notes = () if which == "best" else ("this run was never evaluated, so its last checkpoint is used",)
    card = read_card(checkpoints, which=which)
    if "heads" not in card:
        raise WeightsError(f"{checkpoints} holds no heads of the task probe", slug="state-dict-mismatch")
    if card["fingerprint"] != embedder.fingerprint:
        raise WeightsError(
            f"{checkpoints} was trained on features of {card['backbone']} ({card['fingerprint']}), the run file says "
            f"{embedder.name} ({embedder.fingerprint})",
            hint="name the backbone and the weights that it was trained with",
            slug="state-dict-mismatch",
        )
    net = ProbeNet(card)
    torn = load_weights(net, checkpoints, which=which)
    return net.eval(), (*notes, *(f"passed over {one}" for one in torn))


def _described(head: HeadConfig, classes: ClassMap) -> dict[str, Any]:
    return {"kind": head.kind, "hidden": head.hidden, "dropout": head.dropout, "classes": classes.to_dict()}


def _head(head: Mapping[str, Any], width: int, classes: int) -> nn.Module:
    dropout = nn.Dropout(head["dropout"])
    if head["kind"] == "linear":
        return nn.Sequential(dropout, nn.Linear(width, classes))
    hidden = int(head["hidden"])
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), dropout, nn.Linear(hidden, classes))
