"""What pretrained weights tell apart before any training: a linear probe of their features, beside one of pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from snellen.errors import SnellenError
from snellen.ops.bootstrap import bootstrap, mean_of
from snellen.tasks.classify.data import LabelledImages

__all__ = ["probe_figures", "ridge_answers"]

Features = npt.NDArray[np.float64]

_MOST = 512
"""Images of each split: a probe on more costs more than it tells."""
_BATCH = 32
_THUMBNAIL = 8
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def probe_figures(model: Any, train: LabelledImages, val: LabelledImages, classes: int) -> dict[str, float]:
    """Accuracy of a linear probe on the features as they are, of one on thumbnails, and the gain with its interval.

    Args:
        model: A `Classifier` with pretrained weights, before training.
        train: Images that the probes are fitted to; an even choice of 512.
        val: Images that they are judged by, likewise.
        classes: How many there are.

    Returns:
        `probe_accuracy` with `_low` and `_high`, `pixel_probe_accuracy`, `probe_gain_low` and `probe_gain_high`; empty
        when there are too few images to tell.
    """
    (x, thumbs, y), (x_val, thumbs_val, y_val) = (_features(model, split) for split in (train, val))
    if len(y) < 2 * classes or not len(y_val):
        return {}
    right = (ridge_answers(x, y, x_val, classes) == y_val).astype(np.float64)
    pixels = (ridge_answers(thumbs, y, thumbs_val, classes) == y_val).astype(np.float64)
    probe, gain = bootstrap(mean_of(right), len(right)), bootstrap(mean_of(right - pixels), len(right))
    return {
        "probe_accuracy": probe.value,
        "probe_accuracy_low": probe.low,
        "probe_accuracy_high": probe.high,
        "pixel_probe_accuracy": float(pixels.mean()),
        "probe_gain_low": gain.low,
        "probe_gain_high": gain.high,
    }


def _features(model: Any, split: LabelledImages) -> tuple[Features, Features, npt.NDArray[np.int64]]:
    count = len(split)
    chosen = [index * count // min(count, _MOST) for index in range(min(count, _MOST))]
    network = model.eval().network
    vectors, thumbs, labels = [], [], []
    with torch.no_grad():
        for first in range(0, len(chosen), _BATCH):
            samples = []
            for index in chosen[first : first + _BATCH]:
                try:
                    samples.append((torch.tensor(split.read(index)).permute(2, 0, 1), split.samples[index].label))
                except SnellenError:
                    continue  # it is named when the split is read
            if not samples:
                continue
            images = torch.stack([pixels for pixels, _ in samples]).float() / 255
            features = network.forward_features((images - model.mean) / model.std)
            vectors.append(network.forward_head(features, pre_logits=True).flatten(1))
            thumbs.append(torch.nn.functional.adaptive_avg_pool2d(images, _THUMBNAIL).flatten(1))
            labels += [label for _, label in samples]
    if not labels:
        return np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, dtype=np.int64)
    stacked = [torch.cat(part).double().numpy() for part in (vectors, thumbs)]
    return stacked[0], stacked[1], np.array(labels, dtype=np.int64)


def ridge_answers(x: Features, y: npt.NDArray[np.int64], x_new: Features, classes: int) -> npt.NDArray[np.int64]:
    """Classes of new rows by ridge regression onto one-hot labels, its strength chosen by leave-one-out.

    Example:
        >>> x = np.array([[0.0], [0.1], [1.0], [1.1]])
        >>> ridge_answers(x, np.array([0, 0, 1, 1]), np.array([[0.2], [0.9]]), 2).tolist()
        [0, 1]
    """
    mean, std = x.mean(axis=0), x.std(axis=0)
    std[std < 1e-9] = 1.0
    x, x_new = (x - mean) / std, (x_new - mean) / std
    targets = np.eye(classes)[y]
    offset = targets.mean(axis=0)
    kernel = x @ x.T / x.shape[1]
    best, weights = math.inf, np.zeros_like(targets)
    for strength in _STRENGTHS:
        inverse = np.linalg.inv(kernel + strength * np.eye(len(y)))
        dual = inverse @ (targets - offset)
        error = float(((dual / np.diag(inverse)[:, None]) ** 2).mean())
        if error < best:
            best, weights = error, dual
    return np.asarray((x_new @ x.T / x.shape[1] @ weights + offset).argmax(axis=1))
