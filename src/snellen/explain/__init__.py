"""What a log says: the root cause first, with its evidence and the fix for this case."""

from __future__ import annotations

import os
from typing import BinaryIO

from snellen.core.log import Diagnosis
from snellen.explain.parse import parse
from snellen.explain.rank import Ranking, rank, triggers_of
from snellen.rules.catalogue import catalogue

__all__ = ["examine", "explain"]


def explain(source: str | os.PathLike[str] | BaseException | BinaryIO) -> list[Diagnosis]:
    """Say why a run failed.

    Args:
        source: A log's path, its text, an exception, or an open byte stream.

    Returns:
        Diagnoses, best first; empty when nothing is known.

    Raises:
        UsageError: The file cannot be read.

    Example:
        >>> explain("RuntimeError: value cannot be converted to type at::Half without overflow")[0].slug
        'half-overflow'
        >>> explain("Epoch 3: loss 0.21")
        []
    """
    return list(examine(source).diagnoses)


def examine(source: str | os.PathLike[str] | BaseException | BinaryIO) -> Ranking:
    """As `explain`, with the rules that failed on this log."""
    rules = catalogue()
    return rank(parse(source, triggers=triggers_of(rules.values())), rules)
