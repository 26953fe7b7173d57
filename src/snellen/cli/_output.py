"""What several commands print alike."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

__all__ = ["figure", "print_json", "print_training", "say"]


def print_json(data: Mapping[str, Any]) -> None:
    """One JSON object on stdout; NaN and Inf, which JSON lacks, become null."""
    typer.echo(json.dumps(_plain(data), indent=2, ensure_ascii=False, default=str))


def say(text: str, *, err: bool = False) -> None:
    """Print, whatever characters the terminal lacks; what could steer it is left out."""
    from snellen.explain.lines import harmless

    text = harmless(text)
    try:
        typer.echo(text, err=err)
    except UnicodeEncodeError as error:
        typer.echo(text.encode(error.encoding, "replace").decode(error.encoding), err=err)


def figure(metrics: Mapping[str, float], name: str) -> str:
    """A metric with its 95% interval, when it has one.

    Example:
        >>> figure({"f1": 0.5, "f1_low": 0.4, "f1_high": 0.6}, "f1")
        '0.500 [0.400, 0.600]'
    """
    value = f"{metrics[name]:.3f}"
    if f"{name}_low" in metrics:
        value += f" [{metrics[f'{name}_low']:.3f}, {metrics[f'{name}_high']:.3f}]"
    return value


def print_training(folder: Path, result: Any, *, as_json: bool) -> None:
    """How a training ended, and what to type next."""
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "steps": result.steps,
                "epochs": result.epochs,
                "best": result.best,
                "best_step": result.best_step,
                "metrics": result.metrics,
                "seconds": result.seconds,
                "stopped_early": result.stopped_early,
            }
        )
        return
    early = ", stopped early: patience ran out" if result.stopped_early else ""
    best = f"; best after step {result.best_step}" if result.best is not None else "; nothing was evaluated"
    typer.echo(f"{result.steps} steps in {result.seconds:.0f} s{early}{best}")
    for name, value in result.metrics.items():
        typer.echo(f"  {name:20} {value:.4g}")
    # Without a figure there was no data.val: evaluating needs labelled images that are named somewhere.
    typer.echo(f"next: snellen evaluate {folder}{'' if result.best is not None else ' data.val=FOLDER'}")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
