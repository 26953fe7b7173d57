"""The network of a run that was trained here, as a backbone for embeddings."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from snellen.config.document import read_document
from snellen.engine.store import CheckpointStore, savable
from snellen.errors import WeightsError
from snellen.models.backbones.embedders import Embedder, load_embedder, with_preprocessing

__all__ = ["is_run", "load_trained"]


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "run.yaml").is_file()


def load_trained(folder: Path) -> Embedder:
    """The timm network of a run of the task `classify`, with its trained weights and without its classifier.

    Args:
        folder: The run's folder.

    Raises:
        WeightsError: It was never trained, has no timm network, or its weights are of another one.
        RunFolderError: Every checkpoint is torn.
    """
    settings = read_document(folder / "run.yaml").data
    model = settings.get("model") or {}
    name = model.get("name") if isinstance(model, Mapping) else None
    if not isinstance(name, str):
        raise WeightsError(
            f"{folder} is a run of the task {settings.get('task')} without model.name: it has no network to embed with",
            hint="give the folder of a run of the task classify",
        )
    tensors = _tensors(folder)
    plain = load_embedder(name, pretrained=False)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "weights.safetensors"
        save_file(savable(_without_prefix(tensors, plain.network.state_dict())), file)
        trained = load_embedder(name, weights=file)
    size = _size(settings)
    preprocessing = trained.preprocessing
    if size is not None:
        # Trained on images of this size: at another one it would see other things.
        preprocessing = replace(preprocessing, resize=size, crop=None)
    trained = with_preprocessing(trained, preprocessing, weights=str(folder))
    return replace(trained, name=f"{name} of {folder.name}")


def _tensors(folder: Path) -> Mapping[str, Tensor]:
    store = CheckpointStore(folder / "checkpoints")
    stored = store.newest("best") or store.newest("last")
    if stored is None:
        raise WeightsError(
            f"{folder} has no checkpoint: its network was never trained",
            hint="snellen train RUN.yaml",
            slug="missing-checkpoint",
        )
    tensors: Mapping[str, Tensor] = stored.tensors("ema") or stored.tensors("model")
    return tensors


def _without_prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as the network alone has them: in a run it may be a part of something larger."""
    some = next(iter(own))
    prefix = next((name.removesuffix(some) for name in sorted(tensors, key=len) if name.endswith(some)), "")
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _size(settings: Mapping[str, Any]) -> tuple[int, int] | None:
    data = settings.get("data")
    size = data.get("image_size") if isinstance(data, Mapping) else None
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return None
