"""Published weights of VRT, with SpyNet inside or in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from snellen.models.vrt.network import VRT
from snellen.models.weights.loading import LoadReport, load_into

__all__ = ["load_official", "official_state"]

_INDEX = ".relative_position_index"
_SPYNET = "spynet."
_SPIKES = "spikes."


def official_state(
    network: VRT, state: Mapping[str, Any], spynet: Mapping[str, Any] | None = None
) -> dict[str, Tensor]:
    """The tensors of a published file under the names of the network.

    Args:
        network: Which will take them.
        state: Of the file, with or without the entry `params` around it. What follows from the window size
            (`relative_position_index`) may be missing.
        spynet: Tensors of SpyNet where they came in a file of their own.

    Returns:
        Names to tensors, for `compare_state` and `load_into`.
    """
    found: dict[str, Tensor] = dict(_opened(state))
    if spynet is not None:
        found |= {name if name.startswith(_SPYNET) else _SPYNET + name: one for name, one in _opened(spynet).items()}
    own = network.state_dict()
    return found | {name: one for name, one in own.items() if name.endswith(_INDEX) and name not in found}


def load_official(
    network: VRT, state: Mapping[str, Any], *, source: str, spynet: Mapping[str, Any] | None = None
) -> LoadReport:
    """Load published weights; a spike branch keeps its start, at which it adds nothing.

    Args:
        network: Is changed only when everything fits.
        state: Names to tensors, see `official_state`.
        source: Where they came from, for the message.
        spynet: Tensors of SpyNet where they came in a file of their own.

    Returns:
        What was loaded and what was not.

    Raises:
        WeightsError: They are of another architecture, or would leave a part at random.
    """
    found = official_state(network, state, spynet)
    own = network.state_dict()
    found |= {name: one for name, one in own.items() if name.startswith(_SPIKES) and name not in found}
    return load_into(network, found, source=source)


def _opened(state: Mapping[str, Any]) -> Mapping[str, Tensor]:
    inside = state.get("params", state)
    return inside if isinstance(inside, Mapping) else state
