"""Every environment variable that Snellen reads, with its type, its default and what it is for.

Variables of torch, NCCL and the like are recorded with a run but not read: see `snellen.core.environment`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["SHARED", "VARIABLES", "Variable", "shared_folder"]


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

VARIABLES: Final = (SHARED,)
"""All of them."""


def shared_folder() -> Path:
    """Folder of the acceptance tests' data; it need not exist."""
    return Path(os.environ.get(SHARED.name) or SHARED.default)
