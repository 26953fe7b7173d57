"""Line charts and stacked bars as inline SVG: no script, no font, no network."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Series", "line_chart", "stacked_bar"]

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 34
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One line: points `(x, y)` in the order of x; a NaN or Inf breaks the line and is marked on the axis."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(series: Sequence[Series], *, x_label: str, y_label: str) -> str:
    """An SVG line chart.

    Args:
        series: Lines; finite points alone decide the scale.
        x_label: Under the axis.
        y_label: Above the axis.

    Returns:
        An `<svg>` element, or a sentence when there is nothing finite to draw.

    Example:
        >>> "<polyline" in line_chart([Series("loss", [(0, 1.0), (1, 0.5)])], x_label="step", y_label="loss")
        True
    """
    finite = [point for one in series for point in one.points if math.isfinite(point[1])]
    if not finite:
        return "<p class=muted>Nothing finite was recorded.</p>"
    x_low, x_high = _span([x for x, _ in finite])
    y_low, y_high = _span([y for _, y in finite])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(y_label)}">']
    for index in range(_TICKS):
        share = index / (_TICKS - 1)
        x_value, y_value = x_low + share * (x_high - x_low), y_low + share * (y_high - y_low)
        x, y = place(x_value, y_value)
        parts.append(f'<line class=grid x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class=tick x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{y_value:.3g}</text>')
        anchor = "end" if index == _TICKS - 1 else "middle"
        parts.append(
            f'<text class=tick x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="{anchor}">{x_value:.4g}</text>'
        )
    parts.append(
        f'<text class=tick x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{html.escape(x_label)}</text>'
    )
    for index, one in enumerate(series):
        parts += _line(
            one,
            f"s{index % 4}",
            [(*place(x, y), y) if math.isfinite(y) else (*place(x, y_low), y) for x, y in one.points],
        )
    parts.append("</svg>")
    return "".join(parts) + _legend([one.name for one in series])


def _line(series: Series, css: str, placed: Sequence[tuple[float, float, float]]) -> list[str]:
    parts, stretch = [], []
    for x, y, value in placed:
        if math.isfinite(value):
            stretch.append(f"{x:.1f},{y:.1f}")
            continue
        parts.append(f'<text class="bad" x="{x:.1f}" y="{_HEIGHT - _BOTTOM - 4}" text-anchor="middle">{value}</text>')
        parts.append(f'<polyline class="{css}" points="{" ".join(stretch)}"/>')
        stretch = []
    parts.append(f'<polyline class="{css}" points="{" ".join(stretch)}"/>')
    if placed and len(series.points) == 1:
        parts.append(f'<circle class="{css}" cx="{placed[0][0]:.1f}" cy="{placed[0][1]:.1f}" r="3"/>')
    return parts


def stacked_bar(parts: Mapping[str, float], *, unit: str) -> str:
    """One horizontal bar that shows shares of a whole.

    Args:
        parts: Amounts by name, at least 0.
        unit: Of the amounts.

    Example:
        >>> stacked_bar({"data": 1.0, "forward": 3.0}, unit="s").count("bar-part")
        2
    """
    total = sum(parts.values())
    if total <= 0:
        return "<p class=muted>No time was recorded.</p>"
    cells = "".join(
        f'<div class="bar-part s{index % 4}" style="width:{100 * amount / total:.2f}%"></div>'
        for index, amount in enumerate(parts.values())
    )
    names = [f"{name} {amount:.3g} {unit} ({100 * amount / total:.0f}%)" for name, amount in parts.items()]
    return f'<div class="bar">{cells}</div>{_legend(names)}'


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<span><i class="key s{index % 4}"></i>{html.escape(name)}</span>' for index, name in enumerate(names)
    )
    return f'<div class="legend">{items}</div>'


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)
