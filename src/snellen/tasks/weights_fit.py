"""What a check is told of weights that were compared with a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snellen.core.facts.weights import FitFacts, SizeClash

if TYPE_CHECKING:
    # torch loads in seconds: only a run with a network waits for it.
    from snellen.models.weights.loading import LoadReport

__all__ = ["fit_facts"]

_NAMED = 12
"""Tensors of each kind that are named."""


def fit_facts(part: str, path: str, report: LoadReport, model_key: str, model: str) -> FitFacts:
    """The facts of a file of weights that `model.weights` names.

    Args:
        part: Which part of the model takes them.
        path: The file.
        report: Of the comparison.
        model_key: Key path that names the network.
        model: Its name.
    """
    return FitFacts(
        part,
        "model.weights",
        path,
        report.loaded,
        report.loaded + len(report.missing) + len(report.mismatched),
        report.missing[:_NAMED],
        False,
        report.unexpected[:_NAMED],
        tuple(SizeClash(*clash) for clash in report.mismatched[:_NAMED]),
        model_key,
        model,
    )
