"""From settings to a classifier, and from a run's folder back to one: the class map travels in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snellen.data.class_map import ClassMap
from snellen.engine.checkpoint import load_weights, read_card
from snellen.engine.store import Kind
from snellen.errors import WeightsError
from snellen.models.backbones.classifiers import Architecture, build_classifier, freeze, load_published
from snellen.models.backbones.preprocessing import Preprocessing
from snellen.report.progress import note

__all__ = ["Card", "Classifier", "build_model", "load_classifier", "load_trained"]


@dataclass(frozen=True, slots=True)
class Card:
    """What a checkpoint knows beside its weights.

    Args:
        architecture: What the network is built from.
        classes: The class of each output.
        preprocessing: How a picture becomes an input.
        source: Where pretrained weights came from, `random` without.
    """

    architecture: Architecture
    classes: ClassMap
    preprocessing: Preprocessing
    source: str = "random"

    def to_dict(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return {
            "architecture": asdict(self.architecture),
            "classes": self.classes.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Card:
        """Read what `to_dict` wrote.

        Raises:
            WeightsError: It is of another task.
        """
        try:
            pixels = {key: _tuples(value) for key, value in data["preprocessing"].items()}
            options = {key: _tuples(value) for key, value in data["architecture"]["options"].items()}
            architecture = Architecture(**{**data["architecture"], "options": options})
            classes = ClassMap.from_dict(data["classes"])
            return cls(architecture, classes, Preprocessing(**pixels), str(data["source"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise WeightsError(
                "the checkpoint was not written by the task classify", slug="checkpoint-mismatch"
            ) from error


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Classifier(nn.Module):
    """A timm network that takes pixels as they are: bytes, or floats from 0 to 1.

    Args:
        network: A timm classifier.
        card: Every checkpoint holds it.

    Input shape: `(B, 3, S, S)`. Output shape: `(B, classes)`, logits.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, card: Card) -> None:
        super().__init__()
        self.network = network
        self.card = card.to_dict()
        for name in ("mean", "std"):
            values = torch.tensor(getattr(card.preprocessing, name))[:, None, None]
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of pixels."""
        floats = images if images.is_floating_point() else images.float().div(255)
        logits: Tensor = self.network((floats - self.mean) / self.std)
        return logits

    def train(self, mode: bool = True) -> Classifier:
        """As torch does it; normalisation layers that do not learn keep their statistics, too."""
        super().train(mode)
        for module in self.network.modules():
            own = list(module.parameters(recurse=False))
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and own and not any(p.requires_grad for p in own):
                module.eval()
        return self


def build_model(
    card: Card, *, frozen: str = "none", pretrained: bool = False, weights: Path | None = None
) -> Classifier:
    """A classifier to be trained.

    Args:
        card: What it is made from.
        frozen: What does not learn: `all` but the last layer, `part`, `none`.
        pretrained: Fetch the published weights.
        weights: Pretrained weights from a local file.

    Raises:
        UsageError: timm cannot build it.
        WeightsError: The weights cannot be had or do not fit.
    """
    network = build_classifier(card.architecture)
    if pretrained or weights is not None:
        card = replace(card, source=load_published(network, card.architecture, weights))
    freeze(network, frozen)  # type: ignore[arg-type]  # one of three words, by the settings
    return Classifier(network, card)


def load_classifier(run: Path) -> tuple[Classifier, Card]:
    """The trained classifier of a run's folder, or of its `checkpoints`, in evaluation mode.

    The average of the weights is taken where the run kept one, the best checkpoint where it was evaluated.

    Raises:
        WeightsError: There is none, or it is none of this task.
        RunFolderError: Every checkpoint is torn.
    """
    place = run if run.name == "checkpoints" else run / "checkpoints"
    which: Kind = "best" if (place / "best").is_dir() else "last"
    card = Card.from_dict(read_card(place, which=which))
    model = Classifier(build_classifier(card.architecture), card)
    for torn in load_weights(model, place, which=which):
        note(f"passed over {torn}")
    return model.eval(), card


def load_trained(run_folder: str | Path) -> tuple[nn.Module, Preprocessing, tuple[str, ...]]:
    """A trained run as a backbone for others.

    Args:
        run_folder: Of a run of this task.

    Returns:
        The timm network in evaluation mode (`forward_features`, `forward_head(x, pre_logits=True)` and
        `reset_classifier(0)` are timm's), its preprocessing, and the names of its classes.

    Raises:
        WeightsError: There is no checkpoint.
        RunFolderError: Every checkpoint is torn.
    """
    model, card = load_classifier(Path(run_folder))
    return model.network, card.preprocessing, card.classes.names
