"""From settings to vectors: the backbone of a run, and every image embedded once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snellen.data.feature_cache import FeatureCache
from snellen.data.features import Features, Unread, read_features
from snellen.engine.embedding import EmbedSettings, features_of
from snellen.errors import DataError
from snellen.models.backbones.embedders import Embedder
from snellen.tasks.fewshot.config import FewShotRun
from snellen.tasks.trained_backbone import backbone_loader

__all__ = ["Embedded", "build_embedder", "cache_of", "embed", "loader_of", "settings_of"]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors of images by their path.

    Args:
        rows: Row of each image; what could not be read has none.
        vectors: Shape `(images, width)`.
        digests: Hash of each file's content, by row.
        backbone: Name of what made them.
        fingerprint: Of backbone, weights and preprocessing.
        unread: Images without a vector.
    """

    rows: Mapping[str, int]
    vectors: npt.NDArray[np.float32]
    digests: tuple[str, ...]
    backbone: str
    fingerprint: str
    unread: tuple[Unread, ...] = ()

    def digest(self, image: str) -> str | None:
        """Hash of an image's content, `None` when it could not be read."""
        row = self.rows.get(image)
        return None if row is None else self.digests[row]


def build_embedder(config: FewShotRun, backbone: str | None = None) -> Embedder:
    """The backbone of a run, or another one without further settings.

    Args:
        config: The run.
        backbone: Instead of the run's own.

    Raises:
        UsageError: No such backbone, or no such run.
        WeightsError: Weights that cannot be had.
    """
    return loader_of(config, backbone)()


def loader_of(config: FewShotRun, backbone: str | None = None) -> Callable[[], Embedder]:
    """What makes the backbone of a run, or another one, in this process or another."""
    model = config.model
    root = config.output.parent
    if backbone is not None and backbone != model.backbone:
        return backbone_loader(backbone, root=root)
    return backbone_loader(model.backbone, weights=model.weights, pretrained=model.pretrained, root=root)


def settings_of(config: FewShotRun) -> EmbedSettings:
    """How vectors are computed; none of it changes them."""
    workers = config.data.workers if isinstance(config.data.workers, int) else 1
    return EmbedSettings(device=config.device, workers=max(1, workers))


def cache_of(config: FewShotRun, embedder: Embedder) -> FeatureCache | None:
    """Where vectors of this backbone are kept."""
    return FeatureCache(config.cache, embedder.fingerprint, embedder.name) if isinstance(config.cache, Path) else None


def embed(
    images: Iterable[str],
    embedder: Embedder,
    *,
    settings: EmbedSettings | None = None,
    cache: FeatureCache | None = None,
    features: Path | None = None,
) -> Embedded:
    """Vectors of images, each computed once.

    Args:
        images: Paths; any may come several times.
        embedder: The backbone.
        settings: How it is done.
        cache: Vectors that are known already.
        features: Folder of features of the same backbone, by which images are known, too.

    Raises:
        DataError: The features are of another backbone, other weights, another preprocessing or another width.
    """
    wanted = list(dict.fromkeys(images))
    known = _known(features, embedder, wanted)
    found = features_of([image for image in wanted if image not in known[0]], embedder, settings=settings, cache=cache)
    rows = {image: index for index, image in enumerate(known[0])}
    rows |= {name: len(known[0]) + index for index, name in enumerate(found.names)}
    # An image whose name is no text is known by the text that stands for it.
    rows |= {image: rows[text] for image in wanted if image not in rows and (text := _text(image)) in rows}
    vectors = np.concatenate([known[1], found.vectors])
    return Embedded(
        rows, vectors, (*known[2], *found.digests), embedder.name, embedder.fingerprint, (*known[3], *found.unread)
    )


def _known(
    folder: Path | None, embedder: Embedder, wanted: Iterable[str]
) -> tuple[list[str], npt.NDArray[np.float32], list[str], list[Unread]]:
    """Of the images that are wanted, those that a folder of features holds, by their real path."""
    nothing = np.zeros((0, embedder.width), np.float32)
    if folder is None:
        return [], nothing, [], []
    features: Features = read_features(folder, fingerprint=embedder.fingerprint)
    if len(features.names) and features.vectors.shape[1] != embedder.width:
        raise DataError(
            f"{folder} holds vectors of {features.vectors.shape[1]} numbers, {embedder.name} makes {embedder.width}",
            hint="compute them anew: snellen predict embed.yaml IMAGES -o FOLDER",
        )
    places = {os.path.realpath(name): row for row, name in enumerate(features.names)}
    names = {image: places[place] for image in wanted if (place := os.path.realpath(image)) in places}
    good = {image: row for image, row in names.items() if np.isfinite(features.vectors[row]).all()}
    lost = [
        Unread(image, f"{image}: its features in {folder} are not finite (NaN or Inf)", "nan-loss")
        for image in names
        if image not in good
    ]
    rows = list(good.values())
    return list(good), features.vectors[rows] if rows else nothing, [features.digests[row] for row in rows], lost


def _text(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
