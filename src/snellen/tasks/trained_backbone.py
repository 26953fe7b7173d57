"""The network of a run that was trained here, as a backbone for embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from snellen.config.load import read_task
from snellen.errors import WeightsError
from snellen.models.backbones.embedders import Embedder, embedder_of

__all__ = ["is_run", "load_run"]


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "run.yaml").is_file()


def load_run(folder: Path) -> Embedder:
    """The network of a run of the task `classify`, with its trained weights and without its classifier.

    Args:
        folder: The run's folder.

    Raises:
        WeightsError: It is a run of another task, or was never trained.
        RunFolderError: Every checkpoint is torn.
    """
    task = read_task(folder / "run.yaml")
    if task != "classify":
        raise WeightsError(
            f"{folder} is a run of the task {task}, which has no network to embed with",
            hint="give the folder of a run of the task classify",
        )
    from snellen.tasks.classify.model import load_trained  # noqa: PLC0415 - only for such a run

    network: Any
    network, preprocessing, _ = load_trained(folder)
    network.reset_classifier(0)
    return embedder_of(f"classify run {folder.name}", network, preprocessing, weights=str(folder))
