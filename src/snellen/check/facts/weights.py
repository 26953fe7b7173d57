"""The facts `weights`, `architectures` and `weights_fit`: checkpoint files that a run file names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from snellen.core.checkpoints import inspect_weights
from snellen.core.facts.paths import PathFacts
from snellen.core.facts.weights import Architecture, FitFacts, WeightsFacts
from snellen.core.file_kinds import is_weights
from snellen.core.plan import FactUnavailable, NotApplicable, Plan

__all__ = ["network_key", "provide_architectures", "provide_weights", "provide_weights_fit"]

_KEYS = ("weights", "checkpoint", "resume", "pretrained_path")
_NAMES = ("backbone", "name", "arch", "architecture", "encoder")
_HEADS = ("num_classes", "classes", "n_classes")


def provide_weights(plan: Plan) -> tuple[WeightsFacts, ...]:
    """The fact `weights`: every checkpoint that the run file names, read without unpickling it."""
    paths: Sequence[PathFacts] = plan.fact("paths")
    named = [path for path in paths if path.key.rpartition(".")[2] in _KEYS or is_weights(path.given)]
    return tuple(_inspect(file) for path in named for file in _files(path))


def _files(path: PathFacts) -> list[PathFacts]:
    """A file, or the weights in a folder that a library of models left."""
    place = Path(path.path)
    inside = sorted(place.glob("*.safetensors")) if place.is_dir() and (place / "config.json").is_file() else []
    return [replace(path, path=str(file)) for file in inside] or [path]


def _inspect(path: PathFacts) -> WeightsFacts:
    try:
        from snellen.models.weights.inspect import inspect_checkpoint  # noqa: PLC0415 - needs NumPy
    except ImportError:
        return inspect_weights(path.key, Path(path.path))
    stated = inspect_weights(path.key, Path(path.path)).stated_hash if path.exists else ""
    # A hash takes as long as reading the file does: only where there is one to compare it with.
    return inspect_checkpoint(Path(path.path), key=path.key, hashed=None if stated else False)


def provide_architectures(plan: Plan) -> tuple[Architecture, ...]:
    """The fact `architectures`: which network each checkpoint belongs to."""
    weights: Sequence[WeightsFacts] = plan.fact("weights")
    readable = [one for one in weights if one.state]
    if not readable:
        raise NotApplicable("the run names no checkpoint whose tensors can be listed")
    from snellen.models.weights.recognise import recognise  # noqa: PLC0415 - needs timm

    return tuple(recognise(one.state, key=one.key) for one in readable)


def provide_weights_fit(plan: Plan) -> tuple[FitFacts, ...]:
    """The fact `weights_fit` of a run whose task does not tell: `model.weights` against the network that it names."""
    key, name = network_key(plan)
    model: Mapping[str, object] = plan.settings.get("model") or {}
    weights: Sequence[WeightsFacts] = plan.fact("weights")
    given = next((one for one in weights if one.key.startswith("model.") and one.state), None)
    if given is None:
        if model.get("pretrained") or any(one.key.startswith("model.") for one in weights):
            raise NotApplicable("the run names no checkpoint whose tensors can be listed")
        raise NotApplicable("the run says nothing of pretrained weights")
    from snellen.models.backbones.matching import shapes_of_model  # noqa: PLC0415 - needs timm
    from snellen.models.weights.fit import compare_shapes, under_timm_names  # noqa: PLC0415

    heads = [value for name in _HEADS if isinstance(value := model.get(name), int) and not isinstance(value, bool)]
    wanted = shapes_of_model(name, **({"num_classes": heads[0]} if heads else {}))
    own = {entry.name.removeprefix(given.prefix): entry.shape for entry in given.state}
    own = under_timm_names(own, name)
    fit = compare_shapes(own, wanted, part=name, source=given.path, key=given.key, model_key=key)
    return (fit,)


def network_key(plan: Plan) -> tuple[str, str]:
    """Key path and name of the network that the settings name.

    Raises:
        FactUnavailable: They name none.
    """
    model = plan.settings.get("model")
    if isinstance(model, Mapping):
        for name in _NAMES:
            if isinstance(value := model.get(name), str) and value:
                return f"model.{name}", value
    raise FactUnavailable("the settings name no network (model.backbone, model.name)")
