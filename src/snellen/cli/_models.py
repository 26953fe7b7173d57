"""What the verbs that look at models share."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from snellen.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from torch import nn

    from snellen.models.backbones.named import NamedModel

__all__ = ["parse_shape", "reporting", "wide_console"]

_SHAPE = re.compile(r"\d{1,9}(?:[x,]\d{1,9})*")
_LARGEST = 1 << 40
_WIDE = 160


def reporting(named: NamedModel) -> NamedModel:
    """The same model, whose building fails in our own words: a `UsageError` that says what was raised."""

    def build() -> nn.Module:
        try:
            return named.build()
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{named.name} cannot be built: {type(error).__name__}: {error}") from error

    return replace(named, build=build)


def parse_shape(text: str) -> tuple[int, ...]:
    """`1x3x224x224` as numbers.

    Raises:
        UsageError: It is no shape.

    Example:
        >>> parse_shape("1x3x64x64")
        (1, 3, 64, 64)
    """
    shape = tuple(int(part) for part in re.split("[x,]", text)) if _SHAPE.fullmatch(text) else ()
    count = 1
    for side in shape:
        count *= side
    if not shape or not 0 < count < _LARGEST:
        raise UsageError(f"{text!r} is no shape", hint="batch, channels, height and width: 1x3x224x224")
    return shape


def wide_console() -> Console:
    """A console for tables; a file or a pipe, which has no width of its own, gets room for all columns."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)
