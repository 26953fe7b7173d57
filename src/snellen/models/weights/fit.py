"""How far a checkpoint fits a model, by names and shapes; nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from snellen.core.facts.weights import FitFacts, SizeClash, WeightsFacts
from snellen.core.logs.state_dicts import renaming
from snellen.models.backbones.from_timm import renamed_for
from snellen.models.backbones.matching import shapes_of_model
from snellen.models.backbones.named import named_model

__all__ = ["compare_shapes", "fit_of_shapes", "under_timm_names"]

_SHOWN = 12


def fit_of_shapes(model: str, facts: WeightsFacts) -> FitFacts:
    """How far a checkpoint fits a model by name.

    Args:
        model: As for `snellen.models.backbones.named.named_model`.
        facts: The checkpoint, with its tensors.

    Raises:
        UsageError: No library has such a model.
    """
    given = {entry.name.removeprefix(facts.prefix): entry.shape for entry in facts.state}
    return compare_shapes(under_timm_names(given, model), shapes_of_model(model), part=model, source=facts.path)


def under_timm_names(shapes: Mapping[str, tuple[int, ...]], model: str) -> dict[str, tuple[int, ...]]:
    """Shapes as timm's own conversion would load them: official names become timm's, positions are interpolated.

    Args:
        shapes: Of the checkpoint.
        model: Name of the model; those of other libraries leave the names alone.

    Example:
        >>> under_timm_names({"a": (2,)}, "torchvision:resnet18")
        {'a': (2,)}
    """
    named = named_model(model)
    if not named.name.startswith("timm:"):
        return dict(shapes)
    with torch.device("meta"):
        network = named.build()
        state = {name: torch.empty(shape) for name, shape in shapes.items()}
        converted = renamed_for(state, network)
    # What timm cannot convert it gives back in part: then the names as they are say more.
    fits = sum(name in converted for name in network.state_dict())
    better = fits >= sum(name in shapes for name in network.state_dict())
    return {name: tuple(tensor.shape) for name, tensor in (converted if better else state).items()}


def compare_shapes(
    given: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, tuple[int, ...]],
    *,
    part: str,
    source: str,
    key: str = "model.weights",
    model_key: str = "",
) -> FitFacts:
    """How far named shapes fit those of a model.

    Args:
        given: Of the checkpoint.
        wanted: Of the model.
        part: The model, for people.
        source: The checkpoint, for people.
        key: Key path that names the checkpoint.
        model_key: Key path that names the model.

    Example:
        >>> fit = compare_shapes({"a": (2,), "c": (1,)}, {"a": (3,), "b": (1,)}, part="net", source="file")
        >>> fit.loaded, fit.missing, fit.unexpected, fit.clashes[0].given
        (0, ('b',), ('c',), (2,))
    """
    missing = tuple(name for name in wanted if name not in given)
    unexpected = tuple(name for name in given if name not in wanted)
    found = renaming(missing, unexpected) if len(missing) * 2 > len(wanted) else None
    if found is not None:
        there = {
            found.wanted + name.removeprefix(found.given): shape
            for name, shape in given.items()
            if name.startswith(found.given)
        }
        if sum(name in there for name in wanted) > len(wanted) // 2:
            given = there
            missing = tuple(name for name in wanted if name not in given)
            unexpected = tuple(name for name in given if name not in wanted)
    clashes = [SizeClash(name, given[name], shape) for name, shape in wanted.items() if given.get(name, shape) != shape]
    loaded = len(wanted) - len(missing) - len(clashes)
    return FitFacts(
        part,
        key,
        source,
        loaded,
        len(wanted),
        missing[:_SHOWN],
        False,
        unexpected[:_SHOWN],
        tuple(clashes[:_SHOWN]),
        model_key,
        part,
    )
