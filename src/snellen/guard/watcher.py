"""All during facets over one running job, as one observer of its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from snellen.core.finding import Finding, Level
from snellen.core.rule import DuringFacet, Rule
from snellen.core.step import Action, Step, Verdict

__all__ = ["Healer", "RuleGuard"]

Healer = Callable[[Step, Verdict], Verdict]
"""What may turn a verdict into a milder one: given `STOP`, answer `SKIP` or `ROLLBACK` with the same finding.

The guard itself heals nothing; an engine that cannot skip or roll back treats both as `STOP`.
"""


@dataclass(slots=True)
class _Watch:
    """One rule's watching.

    `look` is made at the first step: a guard that is sent to the processes of further devices must hold no closure.
    """

    slug: str
    facet: DuringFacet
    look: Callable[[Step], Verdict | None] | None = None
    crashed: bool = False


class RuleGuard:
    """Shows every step to every rule that watches running jobs; implements `snellen.core.step.StepObserver`.

    A rule that crashes is reported once, as a note, and asked no more: a guard never ends a run by its own fault.

    Args:
        rules: Those without a during facet are left out.
        healer: May soften verdicts; see `Healer`.
        clock: Seconds, for `seconds`.

    Example:
        >>> from snellen.rules.catalogue import get
        >>> guard = RuleGuard([get("nan-loss")])
        >>> [verdict.action.value for verdict in guard.observe(Step(0, 7, float("nan"), 1.0, 1e-4))]
        ['stop']
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        healer: Healer | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._healer = healer
        self._clock = clock
        self.seconds = 0.0
        """Time that all looking has taken so far."""
        self._watches = [_Watch(rule.slug, rule.during) for rule in rules if isinstance(rule.during, DuringFacet)]

    @property
    def slugs(self) -> tuple[str, ...]:
        """The rules that watch."""
        return tuple(watch.slug for watch in self._watches if not watch.crashed)

    def observe(self, step: Step) -> Sequence[Verdict]:
        """Verdicts on a step, the gravest first.

        Args:
            step: Facts of the step, the same on every rank.
        """
        started = self._clock()
        verdicts = []
        for watch in self._watches:
            verdict = self._ask(watch, step)
            if verdict is not None:
                verdicts.append(verdict)
        verdicts.sort(key=lambda verdict: list(Action).index(verdict.action), reverse=True)
        self.seconds += self._clock() - started
        return verdicts

    def _ask(self, watch: _Watch, step: Step) -> Verdict | None:
        if watch.crashed:
            return None
        try:
            if watch.look is None:
                watch.look = watch.facet.start()
            verdict = watch.look(step)
            return self._healer(step, verdict) if verdict is not None and self._healer is not None else verdict
        except Exception as error:  # noqa: BLE001 - see the class
            watch.crashed = True
            return _crash(watch.slug, error)


def _crash(slug: str, error: Exception) -> Verdict:
    message = f"the guard of {slug} crashed and is off for the rest of this run: {type(error).__name__}: {error}"
    return Verdict(Action.CONTINUE, Finding(slug, Level.NOTE, message))
