"""Published weights: from the hub's cache at once when there is no network, and what to say when they cannot be had."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.request import getproxies

from huggingface_hub import constants
from huggingface_hub.utils import logging

from snellen.core.network import can_connect
from snellen.errors import WeightsError

__all__ = ["hub_access", "weights_unreachable"]

_AUTH = ("401", "403", "gated", "unauthorized", "forbidden")


@contextlib.contextmanager
def hub_access() -> Iterator[None]:
    """Let the hub's client look into its cache only when the hub cannot be reached, instead of retrying for a minute.

    Where a proxy is set, reaching is the proxy's business: nothing is changed.
    """
    if constants.HF_HUB_OFFLINE or getproxies() or can_connect(constants.ENDPOINT):
        yield
        return
    verbosity = logging.get_verbosity()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity(40)  # errors only
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False
        logging.set_verbosity(verbosity)


def weights_unreachable(name: str, hub: str | None, error: Exception, *, folder: str = "") -> WeightsError:
    """One clear line for a download that failed, with every way that is left.

    Settings are written as all verbs take them behind a run file, and as they stand in one.

    Args:
        name: The backbone.
        hub: Repository on the Hugging Face hub, or the address, that the weights come from; `None` when unknown.
        error: What the download raised.
        folder: How a local folder is named as the backbone, where its library reads whole folders and knows neither
            single files nor what the network looks like without one.

    Example:
        >>> weights_unreachable("resnet18", "timm/resnet18.a1_in1k", OSError("no route")).slug
        'hub-offline'
    """
    text = f"{type(error).__name__} {error}".lower()
    where = hub or "its publisher"
    if any(word in text for word in _AUTH):
        return WeightsError(
            f"the published weights of {name} were refused by {where}: no licence accepted, or no token",
            hint="accept the licence on the model's page, then: hf auth login",
            slug="hub-auth",
        )
    ways = [f"a local folder: {folder}"] if folder else ["a local file: model.weights=FILE"]
    if hub and "/" in hub and "://" not in hub:
        ways.append(f"fetch it where there is a network: hf download {hub}, and copy HF_HOME here")
        ways.append("a mirror: HF_ENDPOINT=https://...")
    elif hub:
        ways.append(f"fetch {hub} where there is a network")
    if not folder:
        ways.append("random weights, on purpose: model.pretrained=false")
    return WeightsError(
        f"the published weights of {name} could not be fetched from {where} ({type(error).__name__})",
        hint="; or ".join(ways),
        slug="hub-offline",
    )
