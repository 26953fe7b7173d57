"""From settings to a classifier, and from a run's folder back to one: the class map travels in the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snellen.core.environment import cpu_count
from snellen.data.class_map import ClassMap
from snellen.engine.checkpoint import load_weights, read_card
from snellen.engine.part_embedder import EmbedSettings
from snellen.engine.store import Kind
from snellen.errors import WeightsError
from snellen.models.backbones.classifiers import Architecture, build_classifier, freeze, load_published
from snellen.models.backbones.embedders import Embedder, embedder_of
from snellen.models.backbones.preprocessing import Preprocessing
from snellen.report.progress import note

__all__ = [
    "Card",
    "Classifier",
    "answer_settings",
    "build_model",
    "load_answerer",
    "load_card",
    "load_classifier",
    "load_trained",
]

_MOST_THREADS = 16


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
        inputs = (floats - self.mean) / self.std
        if inputs.device.type == "cpu":
            # Convolutions take a quarter less time so; weights stay as they are, for the checkpoints' sake.
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(inputs)
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
    place, which = _chosen(run)
    card = load_card(run)
    model = Classifier(build_classifier(card.architecture), card)
    for torn in load_weights(model, place, which=which):
        note(f"passed over {torn}")
    return model.eval(), card


def load_card(run: Path) -> Card:
    """What the checkpoint says that `load_classifier` loads.

    Raises:
        WeightsError: There is none, or it is none of this task.
    """
    place, which = _chosen(run)
    return Card.from_dict(read_card(place, which=which))


def _chosen(run: Path) -> tuple[Path, Kind]:
    place = run if run.name == "checkpoints" else run / "checkpoints"
    return place, "best" if (place / "best").is_dir() else "last"


def load_answerer(run: Path) -> Embedder:
    """The trained classifier as what a stream of images goes through: its vectors are the probabilities of the classes.

    Raises:
        WeightsError: As `load_classifier`.
        RunFolderError: As `load_classifier`.
    """
    model, card = load_classifier(run)
    network = nn.Sequential(model.network, nn.Softmax(dim=1))
    return embedder_of(f"classifier {card.architecture.name}", network, card.preprocessing, weights=str(run))


def answer_settings(*, limit: int | None = None) -> EmbedSettings:
    """How a trained classifier is asked: on the first GPU, or on the processor with threads that decode.

    Args:
        limit: Only the first images.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return EmbedSettings(device=device, workers=min(_MOST_THREADS, cpu_count()), limit=limit)


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
