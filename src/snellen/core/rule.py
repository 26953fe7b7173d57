"""A rule: one known failure, seen at up to four moments.

A rule's module holds one constant `RULE`. Its docstring is its page: a title line, then the fixed headings. Its four
facets are functions over plain evidence; a facet that makes no sense is `absent("the reason")`, so that a gap is a
statement and not an oversight.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from snellen.core.finding import Level

if TYPE_CHECKING:
    # A log is explained without what the other facets need.
    from snellen.core.finding import Finding
    from snellen.core.log import Log, LogMatch
    from snellen.core.plan import Cost, Plan
    from snellen.core.probe import Probe
    from snellen.core.source import Hit, SourceFile
    from snellen.core.step import Step, Verdict

__all__ = [
    "HEADINGS",
    "Absent",
    "BeforeFacet",
    "DuringFacet",
    "Family",
    "LogFacet",
    "Moment",
    "Rule",
    "SourceFacet",
    "absent",
]

HEADINGS = ("What happens", "Why", "How to confirm", "Fix", "When it is something else", "Sources")
"""The sections of every rule's page, in this order."""

Family = Literal[
    "environment",
    "config",
    "data",
    "shapes",
    "precision",
    "autograd",
    "memory",
    "compile",
    "weights",
    "tracking",
    "tasks",
]
Moment = Literal["log", "source", "before", "during"]


@dataclass(frozen=True, slots=True)
class Absent:
    """A facet that a rule does not have, and why."""

    reason: str


def absent(reason: str) -> Absent:
    """State why a rule has no facet for a moment."""
    return Absent(reason)


@dataclass(frozen=True, slots=True)
class LogFacet:
    """Finds the failure in a log after it happened.

    Args:
        triggers: Lower-case literals; the facet is asked only when the log holds at least one of them
            (an empty tuple: always). They make reading a huge log cheap.
        examine: Looks closer; `None` when it is something else.
        probe: Asks this machine whether the claim holds here, for `explain --probe`; `None` where a log's claim is
            about data or code that a machine cannot be asked for.
    """

    triggers: tuple[str, ...]
    examine: Callable[[Log], LogMatch | None]
    probe: Probe | None = None


@dataclass(frozen=True, slots=True)
class SourceFacet:
    """Finds the pattern in source before it runs.

    Args:
        triggers: Literals; the facet is asked only when the file's text holds at least one of them.
        examine: Yields a hit for each place.
    """

    triggers: tuple[str, ...]
    examine: Callable[[SourceFile], Iterable[Hit]]


@dataclass(frozen=True, slots=True)
class BeforeFacet:
    """Finds the failure in a plan before the run.

    Args:
        cost: What it may take.
        examine: All problems found (empty: passed); raises `NotApplicable` when the question does not arise.
    """

    cost: Cost
    examine: Callable[[Plan], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class DuringFacet:
    """Watches a running job.

    Args:
        start: Makes the function that is shown every step; what it must remember lives in its closure.
    """

    start: Callable[[], Callable[[Step], Verdict | None]]


Facet: TypeAlias = LogFacet | SourceFacet | BeforeFacet | DuringFacet


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One known failure.

    Args:
        slug: Its only identity: `half-overflow` lives in `rules/<family>/half_overflow.py`.
        family: The folder.
        title: One line, the symptom and not the remedy.
        level: How bad it is when found.
        log: Facet, or `absent(reason)`.
        source: Facet, or `absent(reason)`.
        before: Facet, or `absent(reason)`.
        during: Facet, or `absent(reason)`.
        module: Name of the module that holds it, for the page: pass `__name__`.
    """

    slug: str
    family: Family
    title: str
    level: Level
    log: LogFacet | Absent
    source: SourceFacet | Absent
    before: BeforeFacet | Absent
    during: DuringFacet | Absent
    module: str

    @property
    def page(self) -> str:
        """The module's docstring."""
        return sys.modules[self.module].__doc__ or ""

    def section(self, heading: str) -> str:
        """The text under one heading of the page, `""` when it is missing."""
        pattern = rf"^{re.escape(heading)}\n-+\n(.*?)(?=^[^\n]+\n-{{3,}}\n|\Z)"
        found = re.search(pattern, self.page, re.MULTILINE | re.DOTALL)
        return found.group(1).strip() if found else ""

    def facet(self, moment: Moment) -> Facet | Absent:
        """The facet for a moment."""
        return {"log": self.log, "source": self.source, "before": self.before, "during": self.during}[moment]

    @property
    def moments(self) -> tuple[Moment, ...]:
        """The moments at which the rule can find its failure."""
        return tuple(moment for moment in get_args(Moment) if not isinstance(self.facet(moment), Absent))
