"""A checkpoint whose images came otherwise than the run gives them, by what the files beside it state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from snellen.core.facts.weights import StatedPixels
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.plan import NotApplicable, Plan, setting_place

__all__ = ["other_constants", "other_order"]

_SAME = 0.01
"""Constants that are rounded differently; those of the common families differ by more in some channel."""


def other_constants(plan: Plan) -> Iterator[Finding]:
    """The run normalises as the network that it names, and its checkpoint was trained with other constants."""
    stated, network = _both(plan)
    taken = tuple(map(float, network.get("mean", ()))), tuple(map(float, network.get("std", ())))
    for one in stated:
        pairs = [*zip(one.mean, taken[0], strict=False), *zip(one.std, taken[1], strict=False)]
        if not pairs or all(abs(meant - used) <= _SAME for meant, used in pairs):
            continue
        named = f" It is {one.network} there: name that network, tag included." if one.network else ""
        yield Finding(
            "wrong-normalisation",
            Level.WARNING,
            f"{one.source} beside {one.weights} states mean {_shown(one.mean)} and deviation {_shown(one.std)}, and "
            f"the run takes {_shown(taken[0])} and {_shown(taken[1])}, those of {network.get('part', 'its network')}",
            setting_place(plan, one.key),
            (Evidence(f"{one.source}: mean {list(one.mean)}, std {list(one.std)}"),),
            Fix(f"Take the weights of the network that the run names, or name the one that they are of.{named}"),
        )


def other_order(plan: Plan) -> Iterator[Finding]:
    """The run gives images in the order that its network names, and its checkpoint wants the other one."""
    stated, network = _both(plan)
    given = str(network.get("colour", "RGB"))
    for one in stated:
        if one.colour == given:
            continue
        yield Finding(
            "colour-order",
            Level.ERROR,
            f"{one.source} beside {one.weights} says that images come as {one.colour}, the run gives them as {given}",
            setting_place(plan, one.key),
            (Evidence(f"{one.source}: do_flip_channel_order"),),
            Fix(
                "Take weights that were trained on the order of the run, or turn these once: reverse the three input "
                "channels of the first convolution, `weight[:, [2, 1, 0]]`, and save them."
            ),
        )


def _both(plan: Plan) -> tuple[Sequence[StatedPixels], Mapping[str, Any]]:
    stated: Sequence[StatedPixels] = plan.fact("stated_pixels")
    if not stated:
        raise NotApplicable("no file beside the run's weights says how images came in their training")
    contracts: Sequence[Mapping[str, Any]] = plan.fact("contracts")
    if not contracts:
        raise NotApplicable("the task names no network that takes images")
    return stated, contracts[0]


def _shown(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
