"""What a log says: the root cause first, with its evidence and the fix for this case."""

from __future__ import annotations

import importlib
from dataclasses import replace

from snellen.core.log import Diagnosis
from snellen.explain.parse import Parsed, Source, read
from snellen.explain.rank import Ranking, rank, text_of
from snellen.rules.asking import Askable, askable

__all__ = ["examine", "examine_parsed", "explain"]

_SHORT = 1000
"""Lines of a log that is looked through for triggers again once it is free of colours and marks."""
_PROBED = 5
"""Answers about which this machine is asked."""


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


def examine(source: Source, *, probe: bool = False) -> Ranking:
    """As `explain`, with the rules that failed on this log and the files that could not be read.

    Args:
        source: As of `explain`.
        probe: Also ask this machine whether the answers hold here.

    Raises:
        UsageError: It cannot be read, or is not text.
    """
    rules = askable()
    return examine_parsed(read(source, triggers=rules.literals), rules, probe=probe)


def examine_parsed(parsed: Parsed, rules: Askable, *, probe: bool = False) -> Ranking:
    """As `examine`, of a log that was taken apart before.

    Args:
        parsed: The log.
        rules: The rules that may be asked.
        probe: Also ask this machine whether the answers hold here.
    """
    log = parsed.log
    asked = rules.among(parsed.found) if len(log.lines) > _SHORT else rules.about(text_of(log))
    ranking = rank(log, asked)
    ranking = replace(ranking, problems=(*parsed.problems, *ranking.problems))
    if not probe:
        return ranking
    # Starting programs costs more to load than all that reads a log.
    here = importlib.import_module("snellen.explain.here")
    machine = here.ThisMachine()
    answers = {one.slug: here.probe(asked[one.slug], log, machine) for one in ranking.diagnoses[:_PROBED]}
    return replace(ranking, probed=answers)
