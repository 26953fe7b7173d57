"""Sections of a run file that a check looks at by themselves, whatever is wrong with the others."""

from __future__ import annotations

from typing import Any, TypeVar

from snellen.config.load import parse_section
from snellen.config.schema import Section
from snellen.core.plan import FactUnavailable, Plan
from snellen.errors import ConfigError

__all__ = ["section_of"]

S = TypeVar("S", bound=Section)


def section_of(plan: Plan, schema: type[S], *keys: str) -> S:
    """A section with its defaults filled in.

    Args:
        plan: The run.
        schema: What the section may hold.
        keys: Where it stands, from the outside in; none for the whole file.

    Raises:
        FactUnavailable: It has problems of its own, which are told where the file is read.
    """
    found: Any = plan.settings
    for key in keys:
        found = found.get(key) or {}
    try:
        return parse_section(schema, found)
    except ConfigError as error:
        what = f"the {keys[0]} section of the run file" if keys else "the run file"
        raise FactUnavailable(f"{what} has problems of its own") from error
