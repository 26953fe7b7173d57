"""Any backbone that a run file may name, the network of a run that was trained here among them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from snellen.config.load import read_task
from snellen.core.files import read_json
from snellen.errors import RunFolderError, UsageError, WeightsError
from snellen.models.backbones.embedders import Embedder, embedder_of, load_embedder

__all__ = ["backbone_loader", "open_backbone", "trained_at"]

_ABOVE: Final = 3
"""A run's folder, its `checkpoints`, a checkpoint, a file in it."""


def trained_at(name: str | Path, *, root: Path | None = None) -> Path | None:
    """The folder, or the file in a checkpoint, of a run that a setting names; `None` when it names none.

    Args:
        name: A run's folder, its `checkpoints`, one of these, or a file of weights in it.
        root: A relative name is looked for there, and then in the current folder.

    Example:
        >>> trained_at("resnet50") is None
        True
    """
    for place in dict.fromkeys([Path(root or ".") / name, Path(name)]):
        if os.path.exists(place) and _run_of(place) is not None:  # noqa: PTH110 - no error for odd names
            return place.absolute() if place.is_file() else _run_of(place)
    return None


def open_backbone(
    name: str, *, weights: Path | None = None, pretrained: bool = True, root: Path | None = None
) -> Embedder:
    """Build the backbone of a run.

    Args:
        name: As `load_embedder` takes it; or the folder of a run of the task `classify`, or a checkpoint in it.
        weights: A local file; that of a checkpoint of such a run has its architecture and its preprocessing beside it.
        pretrained: Fetch the published weights.
        root: Where relative names of runs start.

    Raises:
        UsageError: No such backbone; or the weights are those of another network than is named.
        WeightsError: Weights that cannot be had; a run of another task, or one that was never trained.
        RunFolderError: Every checkpoint of the run is torn.
    """
    place = trained_at(name, root=root)
    if place is not None:
        if weights is not None:
            raise UsageError(
                f"both {name} and {weights} name weights", hint="leave model.weights out: the run has its own"
            )
        return _load_run(place)[0]
    trained = None if weights is None else trained_at(weights)
    if trained is None:
        if os.sep in name and ":" not in name and any(os.path.exists(base / name) for base in (root or Path(), Path())):  # noqa: PTH110
            raise UsageError(
                f"{name} is no backbone: it is neither the folder of a run nor a checkpoint in one",
                hint="give the folder of a run of the task classify; a file of weights goes into model.weights",
            )
        return load_embedder(name, weights=weights, pretrained=pretrained)
    embedder, architecture = _load_run(trained)
    if name not in {architecture, f"timm:{architecture}"}:
        raise UsageError(
            f"{weights} holds the weights of {architecture}, the backbone is {name}",
            hint=f"model.backbone={weights} and no model.weights",
        )
    return embedder


def backbone_loader(
    name: str, *, weights: Path | None = None, pretrained: bool = True, root: Path | None = None
) -> Callable[[], Embedder]:
    """What makes the backbone of a run, in this process or in another one, which may start in a folder of its own.

    Args:
        name: As for `open_backbone`.
        weights: As for `open_backbone`.
        pretrained: As for `open_backbone`.
        root: As for `open_backbone`.
    """
    trained = trained_at(name, root=root)
    # Links are left as they are.
    weights, root = (None if path is None else Path(os.path.abspath(path)) for path in (weights, root))  # noqa: PTH100
    name = name if trained is None else str(trained)
    return partial(open_backbone, name, weights=weights, pretrained=pretrained, root=root)


def _run_of(place: Path) -> Path | None:
    """The run's folder that a path is, or lies in."""
    absolute = Path(os.path.abspath(place))  # noqa: PTH100 - links are left as they are
    for folder in [absolute, *absolute.parents][: _ABOVE + 1]:
        if (folder / "run.yaml").is_file():
            below = absolute.relative_to(folder).parts
            return folder if not below or below[0] == "checkpoints" else None
    return None


def _load_run(place: Path) -> tuple[Embedder, str]:
    """The network of a run of the task `classify` without its classifier, and the name of its architecture."""
    folder = _run_of(place)
    assert folder is not None  # noqa: S101 - by trained_at
    task = read_task(folder / "run.yaml")
    if task != "classify":
        raise WeightsError(
            f"{folder} is a run of the task {task}, which has no network to embed with",
            hint="give the folder of a run of the task classify",
        )
    from snellen.engine.checkpoint import load_weights  # noqa: PLC0415 - only for such a run
    from snellen.models.backbones.classifiers import build_classifier  # noqa: PLC0415 - see above
    from snellen.tasks.classify.model import Card, Classifier, load_classifier  # noqa: PLC0415 - see above

    if place.is_file():
        try:
            card = Card.from_dict(read_json(place.parent / "state.json")["card"])
        except (RunFolderError, KeyError, TypeError) as error:
            raise WeightsError(
                f"{place} has no state.json beside it that says what it is of", hint=f"model.backbone={folder}"
            ) from error
        model = Classifier(build_classifier(card.architecture), card)
        load_weights(model, place)
    else:
        model, card = load_classifier(folder)
    network: Any = model.eval().network
    network.reset_classifier(0)
    return (
        embedder_of(f"classify run {folder.name}", network, card.preprocessing, weights=str(place)),
        card.architecture.name,
    )
