"""Every environment variable that Snellen reads, with its type, its default and what it is for.

Variables of torch, NCCL and the like are recorded with a run but not read: see `snellen.core.environment`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "CACHE",
    "CACHE_HOME",
    "CONDA",
    "PROJECT_RULES",
    "SHARED",
    "VARIABLES",
    "VENV",
    "WANDB_ADDRESS",
    "WANDB_KEY",
    "WANDB_MODE",
    "Variable",
    "active_environments",
    "cache_folder",
    "project_rules_wanted",
    "shared_folder",
    "wandb_address",
    "wandb_has_key",
    "wandb_wanted_offline",
]


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable.

    Args:
        name: Its name.
        type: Type of its value, in words.
        default: Value when it is not set.
        purpose: What it changes, and where it is read.
    """

    name: str
    type: str
    default: str
    purpose: str


SHARED: Final = Variable(
    "SNELLEN_SHARED", "folder", "../shared", "Larger real images and logs for the acceptance tests; read by tests only."
)

PROJECT_RULES: Final = Variable(
    "SNELLEN_PROJECT_RULES", "0 or 1", "1", "Whether the rules in the project's `snellen_rules/` are loaded."
)

VENV: Final = Variable(
    "VIRTUAL_ENV", "folder", "", "The active virtual environment: its Python is the user's, which probes ask."
)

CONDA: Final = Variable("CONDA_PREFIX", "folder", "", "The active conda environment, asked when there is no other.")

CACHE: Final = Variable(
    "SNELLEN_CACHE",
    "folder, or off",
    "",
    "Where what was measured of images is remembered; without it `snellen` in XDG_CACHE_HOME. Safe to delete.",
)

CACHE_HOME: Final = Variable(
    "XDG_CACHE_HOME", "folder", "~/.cache", "The user's caches, where SNELLEN_CACHE is not set."
)

WANDB_KEY: Final = Variable("WANDB_API_KEY", "key", "", "Whether curves may be uploaded; wandb itself reads its value.")

WANDB_ADDRESS: Final = Variable(
    "WANDB_BASE_URL", "address", "https://api.wandb.ai", "The Weights & Biases server that curves are uploaded to."
)

WANDB_MODE: Final = Variable(
    "WANDB_MODE", "online, offline or disabled", "", "`offline` and `disabled` keep a run from starting an upload."
)

VARIABLES: Final = (CACHE, PROJECT_RULES, SHARED, CACHE_HOME, VENV, CONDA, WANDB_KEY, WANDB_ADDRESS, WANDB_MODE)
"""All of them."""


def shared_folder() -> Path:
    """Folder of the acceptance tests' data; it need not exist."""
    return Path(os.environ.get(SHARED.name) or SHARED.default)


def project_rules_wanted() -> bool:
    """Whether a project's own rules, which are Python code, are loaded."""
    return os.environ.get(PROJECT_RULES.name, PROJECT_RULES.default) != "0"


def active_environments() -> list[Path]:
    """The environments that are switched on, the one that counts first."""
    return [Path(os.environ[one.name]) for one in (VENV, CONDA) if os.environ.get(one.name)]


def cache_folder() -> Path | None:
    """Folder of what is remembered between two calls; it need not exist. `None` when nothing is to be remembered."""
    named = os.environ.get(CACHE.name)
    if named:
        return None if named == "off" else Path(named).expanduser()
    return Path(os.environ.get(CACHE_HOME.name) or CACHE_HOME.default).expanduser() / "snellen"


def wandb_address() -> str:
    """The server of Weights & Biases."""
    return os.environ.get(WANDB_ADDRESS.name) or WANDB_ADDRESS.default


def wandb_has_key() -> bool:
    """Whether a key is in the environment."""
    return bool(os.environ.get(WANDB_KEY.name))


def wandb_wanted_offline() -> bool:
    """Whether the user has told wandb to stay off the network."""
    return os.environ.get(WANDB_MODE.name, "").lower() in {"offline", "disabled", "dryrun"}
