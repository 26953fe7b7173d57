"""What only the embedding task can tell a check, and how it settles its own `auto` values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snellen._env import cache_folder
from snellen.config.machines import Machine
from snellen.config.resolve import Resolver
from snellen.core.facts.model import NetworkFacts
from snellen.core.facts.weights import FitFacts
from snellen.core.plan import NotApplicable, Plan
from snellen.tasks.embed.config import EmbedModel
from snellen.tasks.sections import section_of
from snellen.tasks.weights_fit import fit_facts

if TYPE_CHECKING:
    # torch and timm load in seconds: only a run with a network waits for them.
    from snellen.models.backbones.embedders import Embedder

__all__ = ["FACTS", "RESOLVERS"]

_WITHOUT_WEIGHTS = frozenset({"pixels", "colour-histogram", "hog", "hog-colour"})


def _model(plan: Plan) -> EmbedModel:
    model = section_of(plan, EmbedModel, "model")
    if model.backbone in _WITHOUT_WEIGHTS:
        raise NotApplicable(f"{model.backbone} has no weights and no network to speak of")
    return model


def _embedder(plan: Plan, model: EmbedModel) -> Embedder:
    """The backbone, with random weights unless it was trained here: what is asked is its shape."""
    from snellen.tasks.trained_backbone import open_backbone  # noqa: PLC0415 - see above

    weights = _trained(plan, model) if model.weights is not None else None
    return open_backbone(model.backbone, weights=weights, pretrained=False, root=plan.root)


def _trained(plan: Plan, model: EmbedModel) -> Path | None:
    """Where the weights lie if the run's own network was trained here."""
    from snellen.tasks.trained_backbone import trained_at  # noqa: PLC0415 - see above

    return trained_at(model.backbone if model.weights is None else model.weights, root=plan.root)


def _contracts(plan: Plan) -> tuple[dict[str, Any], ...]:
    return (_embedder(plan, _model(plan)).contract.to_dict(),)


def _weights_fit(plan: Plan) -> tuple[FitFacts, ...]:
    model = _model(plan)
    part = f"backbone {model.backbone}"
    own = _trained(plan, model)
    if own is not None:
        # Built from the settings that lie beside its weights, and loaded whole.
        tensors = len(_embedder(plan, model).network.state_dict())
        key = "model.backbone" if model.weights is None else "model.weights"
        return (FitFacts(part, key, str(own), tensors, tensors),)
    if model.weights is None and not model.pretrained:
        raise NotApplicable("model.pretrained is false on purpose: its weights are random")
    if model.weights is None:
        return (FitFacts(part, "model.weights", "the hub", loaded=1, total=1),)
    from snellen.models.backbones.embedders import official_state  # noqa: PLC0415 - see above
    from snellen.models.weights.loading import compare_state, read_state_dict  # noqa: PLC0415 - see above

    network = _embedder(plan, model).network
    state = official_state(model.backbone, read_state_dict(plan.root / model.weights), network)
    report = compare_state(network, state)
    return (fit_facts(part, str(model.weights), report, "model.backbone", model.backbone),)


def _networks(plan: Plan) -> tuple[NetworkFacts, ...]:
    model = _model(plan)
    embedder = _embedder(plan, model)
    height, width = embedder.preprocessing.input_size or (224, 224)
    why = f"what the preprocessing of {model.backbone} gives"
    return (
        NetworkFacts(model.backbone, "model.backbone", lambda: embedder.network, 3, ((height, width, why),)),
    )  # fmt: skip


FACTS: Mapping[str, Callable[[Plan], Any]] = {
    "contracts": _contracts,
    "weights_fit": _weights_fit,
    "networks": _networks,
}
"""Providers by the names of `snellen.core.facts`."""


def _device(_config: Any, machine: Machine) -> tuple[str, str]:
    if machine.accelerator == "cpu":
        return "cpu", "no accelerator"
    return machine.accelerator, f"the accelerator of {machine.name}"


def _cache(_config: Any, _machine: Machine) -> tuple[Any, str]:
    folder = cache_folder()
    if folder is None:
        return False, "SNELLEN_CACHE is off"
    return folder.absolute() / "features", "the user's cache"


def _workers(_config: Any, machine: Machine) -> tuple[int, str]:
    count = min(16, machine.cpus or 4)
    return count, f"threads that decode: one for each of {count} cores"


def _pad_multiple(_config: Any, _machine: Machine) -> tuple[int, str]:
    return 1, "the preprocessing of the backbone decides the size"


RESOLVERS: Mapping[str, Resolver] = {
    "device": _device,
    "cache": _cache,
    "data.workers": _workers,
    "data.pad_multiple": _pad_multiple,
}
"""By key path."""
