"""What only the probe task can tell a check, and how it settles its own `auto` values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from snellen.config.machines import Machine
from snellen.config.resolve import Resolver
from snellen.core.plan import Plan
from snellen.tasks.embed import facts as embedding

__all__ = ["FACTS", "RESOLVERS"]

FACTS: Mapping[str, Callable[[Plan], Any]] = embedding.FACTS
"""Its network is the frozen backbone: the same facts as of an embedding."""


def _workers(_config: Any, _machine: Machine) -> tuple[int, str]:
    return 0, "features are in memory: loader processes would only wait"


def _devices(_config: Any, _machine: Machine) -> tuple[int, str]:
    return 1, "heads are small: several devices would only wait for each other"


def _precision(_config: Any, _machine: Machine) -> tuple[str, str]:
    return "fp32", "heads are small: half precision would save nothing"


RESOLVERS: Mapping[str, Resolver] = {
    **embedding.RESOLVERS,
    "data.workers": _workers,
    "devices": _devices,
    "precision": _precision,
}
"""By key path."""
