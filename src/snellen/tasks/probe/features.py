"""Vectors of a frozen backbone for images, each computed once: from a folder of features, from the cache, or now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snellen.core.environment import cpu_count
from snellen.data.feature_cache import FeatureCache
from snellen.data.features import Unread, read_features
from snellen.data.pictures import content_digest
from snellen.data.sources import image_ref
from snellen.engine.embedding import EmbedSettings, features_of
from snellen.errors import DataError, SnellenError
from snellen.models.backbones.embedders import Embedder
from snellen.tasks.probe.config import ProbeRun
from snellen.tasks.trained_backbone import backbone_loader

__all__ = ["FrozenFeatures", "Vectors", "embed_settings"]

_MOST_THREADS = 16


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of those images that could be read.

    Args:
        images: Paths, in the order in which they were asked for.
        matrix: Float32, shape `(images, width)`.
        unread: Images without a vector.
        notes: What a reader must know: a cache that cannot be written.
    """

    images: tuple[str, ...]
    matrix: npt.NDArray[np.float32]
    unread: tuple[Unread, ...] = ()
    notes: tuple[str, ...] = ()


class FrozenFeatures:
    """The backbone of a run, with what is known of its vectors already.

    Args:
        config: The run.
    """

    def __init__(self, config: ProbeRun) -> None:
        self._config = config

    @property
    def load(self) -> Callable[[], Embedder]:
        """What makes the backbone, in another process, too."""
        model = self._config.model
        return backbone_loader(
            model.backbone, weights=model.weights, pretrained=model.pretrained, root=self._config.output.parent
        )

    @cached_property
    def embedder(self) -> Embedder:
        """The backbone.

        Raises:
            WeightsError: Its weights cannot be had.
        """
        return self.load()

    def cache(self) -> FeatureCache | None:
        """The cache of this backbone, if the run keeps one."""
        root = self._config.cache
        if not isinstance(root, Path):
            return None
        return FeatureCache(root, self.embedder.fingerprint, self.embedder.name)

    def of(self, images: Sequence[str]) -> Vectors:
        """Vectors of images.

        Args:
            images: Paths, each once.

        Raises:
            DataError: The folder of features is of another backbone, or mixes several; or no image can be read.
        """
        embedder = self.embedder
        known, notes = self._known(images)
        rest = [image for image in images if image not in known]
        cache = self.cache()
        found = features_of(rest, embedder, settings=embed_settings(self._config), cache=cache)
        rows = dict(zip(found.names, found.vectors, strict=True))
        vectors = known | {image: rows[name] for image in rest if (name := image_ref(image).name) in rows}
        kept = tuple(image for image in images if image in vectors)
        if images and not kept:
            raise DataError(f"none of {len(images)} images can be read: {found.unread[0].sentence}")
        if cache is not None and cache.problem:
            notes.append(f"the cache does not help: {cache.problem}")
        matrix = np.stack([vectors[image] for image in kept]) if kept else np.zeros((0, embedder.width), np.float32)
        return Vectors(kept, matrix, found.unread, tuple(notes))

    def _known(self, images: Sequence[str]) -> tuple[dict[str, npt.NDArray[np.float32]], list[str]]:
        """What the folder of features holds, by the content of the files: they may have been moved since."""
        folder = self._config.data.features
        if folder is None:
            return {}, []
        features = read_features(folder, fingerprint=self.embedder.fingerprint)
        rows = {digest: row for row, digest in enumerate(features.digests)}
        # Snellen writes none, another tool may have; a single one would make the mean of all not finite.
        sound = np.isfinite(features.vectors.sum(axis=1))
        known, unsound = {}, list[str]()
        for image in images:
            try:
                row = rows.get(content_digest(image_ref(image).read()))
            except SnellenError:
                continue  # it is named with the reason when it is embedded
            if row is not None and sound[row]:
                known[image] = features.vectors[row]
            elif row is not None:
                unsound.append(image)
        if not unsound:
            return known, []
        count = f"{len(unsound)} vectors that are" if len(unsound) > 1 else "a vector that is"
        return known, [f"{folder} holds {count} not finite, of {unsound[0]} for one: computed anew"]


def embed_settings(config: ProbeRun, *, limit: int | None = None) -> EmbedSettings:
    """How the features of a run are computed."""
    return EmbedSettings(device=config.device, workers=min(_MOST_THREADS, cpu_count()), limit=limit)
