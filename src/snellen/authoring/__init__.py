"""Writing a rule: the files of a new one, and whether its page, its gaps and its examples are in order."""

from __future__ import annotations

from snellen.authoring.proof import problems_of
from snellen.authoring.scaffold import scaffold

__all__ = ["problems_of", "scaffold"]
