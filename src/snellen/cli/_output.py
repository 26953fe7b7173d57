"""What several commands print alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from snellen.core.rule import HEADINGS

if TYPE_CHECKING:
    from snellen.core.rule import Rule

__all__ = ["figure", "print_json", "print_page", "print_training", "say"]


def print_json(data: Mapping[str, Any]) -> None:
    """One JSON object on stdout, whatever characters it cannot show; NaN and infinities become words as in files."""
    from snellen.report.json import render

    text = render(data)
    try:
        typer.echo(text)
    except UnicodeEncodeError:
        typer.echo(json.dumps(json.loads(text), indent=2))


def say(text: str, *, err: bool = False) -> None:
    """Print, whatever characters the terminal lacks; what could steer it is left out."""
    from snellen.explain.lines import harmless

    text = harmless(text)
    try:
        typer.echo(text, err=err)
    except UnicodeEncodeError as error:
        typer.echo(text.encode(error.encoding, "replace").decode(error.encoding), err=err)


def print_page(rule: Rule, *, as_json: bool) -> None:
    """The page of one rule."""
    if as_json:
        sections = {heading: rule.section(heading) for heading in HEADINGS}
        about = {"slug": rule.slug, "title": rule.title, "family": rule.family, "level": rule.level}
        print_json({**about, "moments": rule.moments, "sections": sections})
        return
    say(f"{rule.slug}  ({rule.family}, found in: {', '.join(rule.moments) or 'nothing yet'})\n\n{rule.page.strip()}")
    looks = {"source": "lint --select {}", "before": "check RUN.yaml --select {}", "log": "explain LOG"}
    look = next((words for moment, words in looks.items() if moment in rule.moments), "rules")
    say(f"\nnext: snellen {look.format(rule.slug)}")


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
