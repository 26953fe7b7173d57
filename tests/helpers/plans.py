"""Plans of which a test states the facts, and what a rule finds in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snellen.core.finding import Finding
from snellen.core.plan import FactUnavailable
from snellen.core.rule import BeforeFacet
from snellen.rules.catalogue import catalogue

__all__ = ["Known", "findings"]


class Known:
    """A plan of which only these facts are known."""

    path = Path("run.yaml")
    root = Path()

    def __init__(self, settings: Mapping[str, Any], **facts: object) -> None:
        self.settings, self.facts = settings, facts

    def line_of(self, key: str) -> int | None:
        return 1

    def fact(self, name: str) -> Any:
        if name not in self.facts:
            raise FactUnavailable(f"{name} is not known")
        return self.facts[name]

    def notify(self, what: str, done: int = 0, total: int = 0) -> None:
        pass


def findings(slug: str, plan: Known) -> list[Finding]:
    facet = catalogue()[slug].before
    assert isinstance(facet, BeforeFacet)
    return list(facet.examine(plan))
