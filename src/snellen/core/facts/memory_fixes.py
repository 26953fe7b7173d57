"""What to do about a run that does not fit: the changes that were gone through, as a fix and as evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snellen.core.facts.memory import MemoryChange, MemoryFacts
from snellen.core.finding import Evidence, Fix, FixSafety
from snellen.core.logs.memory import readable

__all__ = ["fix_by_changes", "memory_evidence"]

_SHOWN = 5


def fix_by_changes(changes: Sequence[MemoryChange]) -> Fix:
    """The first change that makes it fit and can be written; the others are named.

    Args:
        changes: The best first.

    Example:
        >>> change = MemoryChange("batch size 4", "slower", 2**30, 2**31, "yes", (("optim.batch_size", 4),))
        >>> fix_by_changes([change]).settings
        (('optim.batch_size', 4),)
    """
    enough = [change for change in changes if change.fits == "yes"]
    if not enough:
        best = f"; most is saved by {changes[0].text} ({readable(changes[0].saved)} less)" if changes else ""
        text = f"No single change makes it fit{best}. Join several, or take a larger device: snellen estimate RUN.yaml"
        return Fix(text)
    chosen = next((change for change in enough if change.settings), enough[0])
    others = [change.text for change in enough if change is not chosen][: _SHOWN - 1]
    also = f" Or: {', '.join(others)}." if others else ""
    text = f"{_sentence(chosen)}; the price: {chosen.price}.{also}"
    reason = "it changes how the run learns; look at the price first"
    return Fix(text, FixSafety.UNSAFE if chosen.settings else FixSafety.MANUAL, reason, settings=chosen.settings)


def _sentence(change: MemoryChange) -> str:
    text = f"{change.text[:1].upper()}{change.text[1:]}"
    return f"{text} takes {readable(change.saved)} less: {readable(change.high)} at most"


def memory_evidence(facts: MemoryFacts) -> tuple[Evidence, ...]:
    """Every phase, what the memory is for, and every change that was gone through."""
    return tuple(map(Evidence, _lines(facts)))


def _lines(facts: MemoryFacts) -> Iterator[str]:
    for phase in facts.phases:
        yield f"{phase.phase}: {readable(phase.low)} to {readable(phase.high)}, {phase.what}"
    parts = ", ".join(f"{name} {readable(size)}" for name, size in facts.parts[:_SHOWN])
    yield f"at the peak of {facts.worst.phase}: {parts}"
    for change in facts.changes[:_SHOWN]:
        fits = {"yes": "fits", "perhaps": "may fit"}.get(change.fits, "does not fit")
        yield f"{_sentence(change)}, {fits}; {change.price}"
