"""What `explain` and `watch` print of an answer."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from snellen.core.files import plain
from snellen.core.log import Diagnosis

if TYPE_CHECKING:
    from snellen.core.probe import Answer
    from snellen.explain.rank import Ranking

__all__ = ["NOTHING", "ranking_data", "ranking_lines"]

_WIDTH = 100
_ALSO = 4
"""Further answers that are shown; `--json` has all."""
NOTHING = "Nothing known fits this log: no answer is better than a wrong one."


def ranking_data(ranking: Ranking) -> dict[str, Any]:
    """Plain data; each diagnosis with what this machine said to it, or null."""
    probed = ranking.probed or {}
    diagnoses = [{**plain(one), "probe": plain(probed.get(one.slug))} for one in ranking.diagnoses]
    return {"diagnoses": diagnoses, "problems": list(ranking.problems), "unknown_failure": ranking.failed}


def ranking_lines(ranking: Ranking, *, again: str = "") -> Iterator[str]:
    """The report: the best answer whole, the others in short, and what to type next.

    Args:
        ranking: The answers.
        again: The command that gave them, to which `--probe` can be added; empty when it cannot be given again.
    """
    if not ranking.diagnoses:
        yield NOTHING
        yield ""
        yield "Give the whole log, from the first line of the traceback on; `snellen rules` lists what is known."
        return
    if ranking.failed:
        yield "Nothing known fits the failure that ended the log:"
        yield from _part("", ranking.failed)
        yield ""
    best, *others = ranking.diagnoses
    yield from _whole(best, (ranking.probed or {}).get(best.slug))
    if others:
        yield "Also in this log:" if any(one.note for one in others) else "Also possible:"
    for one in others[:_ALSO]:
        yield from _short(one, (ranking.probed or {}).get(one.slug))
    if len(others) > _ALSO:
        yield f"  and {len(others) - _ALSO} more: --json lists all"
    if ranking.probed is None and again and best.slug in ranking.askable:
        yield f"next: {again} --probe   asks this machine whether it is so"
    else:
        yield f"next: snellen explain {best.slug}"


def _whole(one: Diagnosis, probed: Answer | None) -> Iterator[str]:
    yield f"{one.title}  [{one.slug}, {one.score:.0%} sure]"
    if one.note:
        yield f"  ({one.note})"
    yield ""
    yield from _part("cause", one.cause)
    for fact in one.evidence:
        place = fact.location
        at = ""
        if place is not None and place.line is not None and not fact.text.startswith(place.path):
            at = f"line {place.line}: " if place.path == "log" else f"{place.path}:{place.line}: "
        yield from _part("evidence", f"{at}{fact.text}")
    yield from _part("fix", one.fix.text)
    if one.fix.command:
        yield f"  {'run':<9} {one.fix.command}"
    if probed is not None:
        yield from _part("here", f"{probed.outcome.value}: {probed.text}")
    yield from _part("confirm", one.confirm)
    yield from _part("or else", one.otherwise)
    yield ""


def _short(one: Diagnosis, probed: Answer | None) -> Iterator[str]:
    note = f" ({one.note})" if one.note else ""
    yield f"  {one.slug}, {one.score:.0%} sure{note}"
    yield from _part("", f"{one.cause} {one.fix.text}")
    if probed is not None:
        yield from _part("here", f"{probed.outcome.value}: {probed.text}")


def _part(label: str, text: str) -> Iterator[str]:
    indent = " " * 12
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    for position, paragraph in enumerate(paragraphs):
        head = f"  {label:<9} " if position == 0 else indent
        yield textwrap.fill(paragraph, _WIDTH, initial_indent=head, subsequent_indent=indent, break_long_words=False)
