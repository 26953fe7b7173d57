"""Pictures at their places on a plane, as inline SVG: what a network holds for alike lies together."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Spot", "picture_map"]

_WIDTH: Final = 960
_HEIGHT: Final = 640
_SIDE: Final = 30


@dataclass(frozen=True, slots=True)
class Spot:
    """One picture.

    Args:
        x: In any unit.
        y: In any unit, upwards.
        content: A small JPEG; a dot is drawn without one.
        title: What it is.
    """

    x: float
    y: float
    content: bytes
    title: str


def picture_map(spots: Sequence[Spot]) -> str:
    """An SVG element that holds every picture at its place.

    Args:
        spots: As many as a page should hold.

    Example:
        >>> picture_map([Spot(0, 0, b"", "a.png"), Spot(1, 2, b"", "b.png")]).count("<circle")
        2
    """
    if not spots:
        return "<p class=muted>Nothing to show.</p>"
    low_x, high_x = min(spot.x for spot in spots), max(spot.x for spot in spots)
    low_y, high_y = min(spot.y for spot in spots), max(spot.y for spot in spots)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="max-width:100%" role="img" aria-label="map of the images">']
    for spot in spots:
        x = (spot.x - low_x) / ((high_x - low_x) or 1.0) * (_WIDTH - _SIDE)
        y = (high_y - spot.y) / ((high_y - low_y) or 1.0) * (_HEIGHT - _SIDE)
        title = f"<title>{html.escape(spot.title)}</title>"
        if spot.content:
            source = f"data:image/jpeg;base64,{base64.b64encode(spot.content).decode()}"
            parts.append(
                f'<image x="{x:.1f}" y="{y:.1f}" width="{_SIDE}" height="{_SIDE}" href="{source}">{title}</image>'
            )
        else:
            middle = _SIDE / 2
            parts.append(f'<circle class="s0" cx="{x + middle:.1f}" cy="{y + middle:.1f}" r="3">{title}</circle>')
    return "".join((*parts, "</svg>"))
