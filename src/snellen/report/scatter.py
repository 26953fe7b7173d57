"""Points of a plane in the colours of their groups, as inline SVG."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

__all__ = ["MOST_GROUPS", "scatter"]

_WIDTH: Final = 720
_HEIGHT: Final = 520
_EDGE: Final = 12
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a8a00", "#7f3fbf")
"""Told apart with every kind of colour vision: Okabe and Ito's, without black, and two more."""
_SHAPES: Final = ("circle", "square", "triangle")
MOST_GROUPS: Final = len(_COLOURS) * len(_SHAPES)
"""Colours times shapes; further groups share one."""


def scatter(points: Sequence[tuple[float, float]], groups: Sequence[str], titles: Sequence[str]) -> str:
    """An SVG element with a legend.

    Args:
        points: `(x, y)`, in any unit.
        groups: Of each point.
        titles: What each point is; shown under the pointer.

    Example:
        >>> scatter([(0, 0), (1, 2)], ["cat", "dog"], ["a.png", "b.png"]).count("<title>")
        2
    """
    if not points:
        return "<p class=muted>Nothing to show.</p>"
    low_x, high_x = min(x for x, _ in points), max(x for x, _ in points)
    low_y, high_y = min(y for _, y in points), max(y for _, y in points)
    names = list(dict.fromkeys(sorted(groups)))
    place = {name: number for number, name in enumerate(names)}
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="map of the features">']
    for (x, y), group, title in zip(points, groups, titles, strict=True):
        right = _EDGE + (x - low_x) / ((high_x - low_x) or 1.0) * (_WIDTH - 2 * _EDGE)
        down = _EDGE + (high_y - y) / ((high_y - low_y) or 1.0) * (_HEIGHT - 2 * _EDGE)
        parts.append(_mark(place[group], right, down, f"<title>{html.escape(title)}</title>"))
    legend = "".join(
        f'<span><svg viewBox="0 0 12 12" style="width:12px;margin-right:6px">{_mark(number, 6, 6, "")}</svg>'
        f"{html.escape(name)}</span>"
        for name, number in place.items()
    )
    return "".join((*parts, "</svg>", f'<div class="legend">{legend}</div>'))


def _mark(number: int, x: float, y: float, inside: str) -> str:
    colour = _COLOURS[number % len(_COLOURS)]
    shape = _SHAPES[number // len(_COLOURS) % len(_SHAPES)]
    style = f'fill="{colour}" fill-opacity="0.75"'
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {style}>{inside}</circle>'
    if shape == "square":
        return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" {style}>{inside}</rect>'
    corners = f"{x:.1f},{y - 4.5:.1f} {x - 4.2:.1f},{y + 3:.1f} {x + 4.2:.1f},{y + 3:.1f}"
    return f'<polygon points="{corners}" {style}>{inside}</polygon>'
