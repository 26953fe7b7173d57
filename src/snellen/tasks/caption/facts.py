"""What only the caption task can tell a check, and how it settles its own `auto` values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from snellen.config.machines import Machine
from snellen.config.resolve import Resolver
from snellen.core.facts.weights import FitFacts
from snellen.core.plan import NotApplicable, Plan
from snellen.tasks.caption.config import CaptionModel
from snellen.tasks.embed import facts as embedding
from snellen.tasks.sections import section_of

__all__ = ["FACTS", "RESOLVERS"]


def _weights_fit(plan: Plan) -> tuple[FitFacts, ...]:
    """Loads a local folder whole: that is what the run would do first."""
    model = section_of(plan, CaptionModel, "model")
    part = f"Florence-2 {model.repository}"
    if not model.pretrained:
        raise NotApplicable("model.pretrained is false on purpose: its weights are random")
    if model.weights is None:
        return (FitFacts(part, "model.repository", "the hub", loaded=1, total=1),)
    from snellen.models.captioning.florence import load_captioner  # noqa: PLC0415 - torch only when it is asked for

    captioner = load_captioner(model.repository, weights=plan.root / model.weights)
    total = len(captioner.network.state_dict())
    return (FitFacts(part, "model.weights", str(model.weights), loaded=total, total=total),)


FACTS: Mapping[str, Callable[[Plan], Any]] = {"weights_fit": _weights_fit}
"""Providers by the names of `snellen.core.facts`."""


def _batch_size(_config: Any, machine: Machine) -> tuple[int, str]:
    if machine.accelerator == "cpu":
        return 4, "no accelerator: larger passes are no faster"
    return 16, "halved when memory runs out"


RESOLVERS: Mapping[str, Resolver] = {**embedding.RESOLVERS, "batch_size": _batch_size}
"""By key path."""
