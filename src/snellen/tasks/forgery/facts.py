"""What only the forgery task can tell a check, and how it settles its own `auto` values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from snellen.config.machines import Machine
from snellen.config.resolve import Resolver
from snellen.core.facts.memory import UnfoldFacts
from snellen.core.facts.model import NetworkFacts
from snellen.core.facts.weights import FitFacts
from snellen.core.plan import FactUnavailable, NotApplicable, Plan
from snellen.tasks.forgery.config import ForgeryModel, ForgeryRun
from snellen.tasks.sections import section_of
from snellen.tasks.weights_fit import fit_facts

if TYPE_CHECKING:
    # torch and timm load in seconds: only a run with a network waits for them.
    from snellen.models.contract import Contract

__all__ = ["FACTS", "RESOLVERS"]


def _model(plan: Plan) -> ForgeryModel:
    return section_of(plan, ForgeryModel, "model")


def _network_model(plan: Plan) -> ForgeryModel:
    model = _model(plan)
    if model.detector == "keypoint":
        raise NotApplicable("the keypoint detector has no network")
    return model


def _contracts_of(model: ForgeryModel) -> tuple[Contract, Contract]:
    from snellen.models.backbones.from_timm import describe_backbone  # noqa: PLC0415 - see above
    from snellen.models.forgery.net.decoder import EvidenceDecoder  # noqa: PLC0415 - see above

    return describe_backbone(model.backbone, max_stride=model.max_stride), EvidenceDecoder.CONTRACT


def _contracts(plan: Plan) -> tuple[dict[str, Any], ...]:
    return tuple(contract.to_dict() for contract in _contracts_of(_network_model(plan)))


def _unfold(plan: Plan) -> UnfoldFacts:
    """Sizes for an `unfold` of this run's features, should the user's code contain one."""
    backbone = _contracts_of(_network_model(plan))[0]
    data, optim = plan.settings.get("data") or {}, plan.settings.get("optim") or {}
    size, batch = data.get("image_size", 256), optim.get("batch_size", 8)
    if not isinstance(size, int) or not isinstance(batch, int):
        raise FactUnavailable("data.image_size or optim.batch_size is no whole number")
    cells = max(1, size // backbone.stride)
    why = f"images of {size} at stride {backbone.stride}, batch size {batch}"
    return UnfoldFacts(batch, backbone.out_channels or 1, cells, cells, 4, why)


def _weights_fit(plan: Plan) -> tuple[FitFacts, ...]:
    model = _network_model(plan)
    part = f"backbone {model.backbone}"
    if model.weights is None and not model.pretrained and "pretrained" in model.model_fields_set:
        raise NotApplicable("model.pretrained is false on purpose: it is trained from a random start")
    if model.weights is None:
        source = "the hub" if model.pretrained else ""
        return (FitFacts(part, "model.weights", source, loaded=1 if model.pretrained else 0, total=1),)
    from snellen.models.backbones.from_timm import fit_of_weights  # noqa: PLC0415 - see above

    report = fit_of_weights(model.backbone, plan.root / model.weights)
    return (fit_facts(part, str(model.weights), report, "model.backbone", model.backbone),)


def _networks(plan: Plan) -> tuple[NetworkFacts, ...]:
    """The network as it is trained: on square crops, whose side is brought to what its parts take."""
    model = _network_model(plan).model_copy(update={"weights": None, "pretrained": False})

    def build() -> Any:
        from snellen.tasks.forgery.model import build_network  # noqa: PLC0415 - see above

        return build_network(model)

    data = plan.settings.get("data") or {}
    wanted = data.get("image_size", 256) or 256
    side = wanted if isinstance(wanted, int) else max(wanted)
    contracts = _contracts_of(model)
    from snellen.models.contract import common_side_multiple  # noqa: PLC0415 - see above

    multiple = common_side_multiple(contracts)
    smallest = (2 * model.correlation.exclusion_radius + 1 + model.correlation.top_k) * model.correlation.stride
    side = max(-(-side // multiple), -(-smallest * contracts[0].stride // multiple)) * multiple
    why = f"data.image_size {wanted}, brought to a multiple of {multiple}"
    return (NetworkFacts(f"forgery net on {model.backbone}", "model.backbone", build, 3, ((side, side, why),)),)


FACTS: Mapping[str, Callable[[Plan], Any]] = {
    "contracts": _contracts,
    "unfold": _unfold,
    "weights_fit": _weights_fit,
    "networks": _networks,
}
"""Providers by the names of `snellen.core.facts`."""


def _pad_multiple(config: Any, _machine: Machine) -> tuple[int, str]:
    if not isinstance(config, ForgeryRun) or config.model.detector == "keypoint":
        return 1, "the keypoint detector takes any size"
    from snellen.models.contract import common_side_multiple  # noqa: PLC0415 - see above

    contracts = _contracts_of(config.model)
    parts = " and ".join(f"{contract.side_multiple} ({contract.part})" for contract in contracts)
    return common_side_multiple(contracts), f"least common multiple of {parts}"


RESOLVERS: Mapping[str, Resolver] = {"data.pad_multiple": _pad_multiple}
"""By key path."""
