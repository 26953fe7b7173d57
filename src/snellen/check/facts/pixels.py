"""The fact `stated_pixels`: how images have to come to a checkpoint, as the files beside it say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from snellen.core.facts.weights import StatedPixels, WeightsFacts
from snellen.core.plan import NotApplicable, Plan

__all__ = ["provide_stated_pixels"]

_MOST_BYTES = 1 << 20
_CHANNELS = 3
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")
_FILES = ("preprocessor_config.json", "config.json", "open_clip_config.json")
"""Of transformers; of timm, which others use for other things; of OpenCLIP."""


def provide_stated_pixels(plan: Plan) -> tuple[StatedPixels, ...]:
    """What is said beside each checkpoint of a network that takes images."""
    weights: Sequence[WeightsFacts] = plan.fact("weights")
    there = [one for one in weights if one.exists and one.key.startswith("model.")]
    if not there:
        raise NotApplicable("the run names no checkpoint of a network")
    return tuple(stated for one in there for stated in _beside(one))


def _beside(weights: WeightsFacts) -> Iterator[StatedPixels]:
    folder = Path(weights.path).parent
    if sum(1 for pattern in _WEIGHTS for _ in folder.glob(pattern)) > 1:
        return  # whose they are is not said
    for name in _FILES:
        content = _read(folder / name)
        if content is None:
            continue
        found = _of_transformers(content) or _of_others(content)
        if found is not None:
            mean, std, colour, network = found
            yield StatedPixels(weights.key, weights.path, name, mean, std, colour, network)
            return


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, Mapping) else None


_Found = tuple[tuple[float, ...], tuple[float, ...], str, str]


def _of_transformers(content: Mapping[str, Any]) -> _Found | None:
    colour = "BGR" if content.get("do_flip_channel_order") is True else "RGB"
    mean, std = _numbers(content.get("image_mean")), _numbers(content.get("image_std"))
    scaled = content.get("do_rescale") is True and not content.get("do_normalize", bool(mean))
    if scaled:
        return (0.0,) * _CHANNELS, (1.0,) * _CHANNELS, colour, ""
    return (mean, std, colour, "") if mean and std else None


def _of_others(content: Mapping[str, Any]) -> _Found | None:
    for part in ("pretrained_cfg", "preprocess_cfg", ""):
        inner = content.get(part) if part else content
        if not isinstance(inner, Mapping):
            continue
        mean, std = _numbers(inner.get("mean")), _numbers(inner.get("std"))
        if mean and std:
            words = [str(word) for word in (content.get("architecture"), inner.get("tag")) if isinstance(word, str)]
            return mean, std, "RGB", ".".join(word for word in words if word)
    return None


def _numbers(value: object) -> tuple[float, ...]:
    """Three of them, from 0 to 1; nothing else is a mean or a deviation of pixels."""
    if not isinstance(value, list) or len(value) != _CHANNELS:
        return ()
    plain = [float(item) for item in value if isinstance(item, (int, float)) and not isinstance(item, bool)]
    return tuple(plain) if len(plain) == _CHANNELS and all(0 <= item <= 1 for item in plain) else ()
