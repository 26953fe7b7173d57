"""What only the probe task can tell a check, and how it settles its own `auto` values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from snellen.config.machines import Machine
from snellen.config.resolve import Resolver
from snellen.core.facts.labels import LabelTrouble
from snellen.core.plan import FactUnavailable, NotApplicable, Plan
from snellen.tasks.embed import facts as embedding
from snellen.tasks.probe.config import ProbeRun
from snellen.tasks.sections import section_of

__all__ = ["FACTS", "RESOLVERS"]

_PATHS = ("train", "val", "test", "labels")


def _label_troubles(plan: Plan) -> tuple[LabelTrouble, ...]:
    """What training, and what an evaluation on the other splits would refuse."""
    # Layouts and features are read with numpy, which only a run of this task waits for.
    from snellen.tasks.probe.labels import label_troubles  # noqa: PLC0415 - see above

    config = section_of(plan, ProbeRun)
    if config.data.train is None:
        raise NotApplicable("the run names no folder of training images")
    data = config.data
    given = {name: plan.root / path for name in _PATHS if (path := getattr(data, name)) is not None}
    if absent := [name for name, path in given.items() if name != "labels" and not path.is_dir()]:
        raise FactUnavailable(f"data.{absent[0]} is no folder", slug="missing-file")
    return label_troubles(config.model_copy(update={"data": data.model_copy(update=given)}))


FACTS: Mapping[str, Callable[[Plan], Any]] = {**embedding.FACTS, "label_troubles": _label_troubles}
"""Its network is the frozen backbone: the same facts as of an embedding; and labels of its own."""


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
