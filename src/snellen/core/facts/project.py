"""The user's project, and modules of it that are loaded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ProjectFacts", "StaleModule"]


@dataclass(frozen=True, slots=True)
class StaleModule:
    """A loaded module whose source has changed since.

    Args:
        name: As in `sys.modules`.
        path: Its source.
        changed: Qualified names of functions and classes whose code differs, `<module>` for the top level.
        how: `changed`, `deleted` or `moved`.
    """

    name: str
    path: str
    changed: tuple[str, ...] = ()
    how: str = "changed"


@dataclass(frozen=True, slots=True)
class ProjectFacts:
    """The user's project around a run.

    Args:
        root: Its folder.
        markers: What it was recognised by, such as `.git`.
        nested: Copies of the project inside itself: a repository cloned into its own checkout.
        inside_nested: Whether the run file stands in such a copy.
        shadowed: `(module, imported from, expected)`: the run's code that Python would import from another copy.
    """

    root: str
    markers: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()
    inside_nested: bool = False
    shadowed: tuple[tuple[str, str, str], ...] = ()
