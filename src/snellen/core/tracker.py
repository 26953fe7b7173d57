"""Whether curves can be uploaded to Weights & Biases from here, and if not, why."""

from __future__ import annotations

import contextlib
import importlib.util
import netrc
from urllib.parse import urlsplit

from snellen._env import wandb_address, wandb_has_key, wandb_wanted_offline
from snellen.core.network import can_connect

__all__ = ["why_not_online"]


def why_not_online(address: str | None = None) -> str:
    """Why curves cannot be uploaded now, `""` when they can.

    Args:
        address: Of the server; the one that the environment names without it.
    """
    address = address or wandb_address()
    if importlib.util.find_spec("wandb") is None:
        return "wandb is not installed"
    if wandb_wanted_offline():
        return "WANDB_MODE says so"
    if not (wandb_has_key() or _in_netrc(urlsplit(address).hostname or "")):
        return "there is no key: wandb login"
    if not can_connect(address):
        return f"{address} does not answer"
    return ""


def _in_netrc(host: str) -> bool:
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc().authenticators(host) is not None
    return False
