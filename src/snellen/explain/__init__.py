"""What a log says: the root cause first, with its evidence and the fix for this case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from snellen.core.log import Diagnosis, Log
from snellen.core.rule import Rule
from snellen.explain.parse import Source, read
from snellen.explain.rank import Ranking, rank, text_of
from snellen.rules.asking import Askable, askable

__all__ = ["examine", "examine_log", "explain"]


def explain(source: Source) -> list[Diagnosis]:
    """Say why a run failed.

    Args:
        source: The path of a log, of a saved notebook, of a TensorBoard event file or of a folder of them; the text
            itself; an exception; or an open byte stream.

    Returns:
        Diagnoses, best first; empty when nothing is known.

    Raises:
        UsageError: It cannot be read, or is not text.

    Example:
        >>> explain("RuntimeError: value cannot be converted to type at::Half without overflow")[0].slug
        'half-overflow'
        >>> explain("Epoch 3: loss 0.21")
        []
    """
    return list(examine(source).diagnoses)


def examine(source: Source) -> Ranking:
    """As `explain`, with the rules that failed on this log and the files that could not be read."""
    rules = askable()
    parsed = read(source, triggers=rules.literals)
    ranking = examine_log(parsed.log, rules)
    return replace(ranking, problems=(*parsed.problems, *ranking.problems))


def examine_log(log: Log, rules: Askable | Mapping[str, Rule] | None = None) -> Ranking:
    """As `examine`, of a log that was taken apart before."""
    rules = askable() if rules is None else rules
    return rank(log, rules.about(text_of(log)) if isinstance(rules, Askable) else rules)
