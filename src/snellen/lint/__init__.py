"""Known failure patterns in source, before it runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from snellen.core.finding import Finding
from snellen.core.rule import Rule
from snellen.lint.runner import chosen_rules, run

__all__ = ["inspect", "lint"]


def lint(*paths: str | os.PathLike[str], select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Finding]:
    """Look for known failure patterns in Python files and notebooks.

    Args:
        paths: Files or folders; the files of one project are looked at together.
        select: Slugs of the only rules to ask.
        ignore: Slugs of rules not to ask.

    Returns:
        Findings in the order of files and lines; files that cannot be parsed are passed over.

    Raises:
        UsageError: A path does not exist, or no rule has that slug.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "mask.py"
        >>> _ = path.write_text("scores = scores.masked_fill(mask, -1e9)")
        >>> [finding.slug for finding in lint(path)]
        ['fill-out-of-range']
    """
    return run(paths, chosen_rules(select, ignore)).findings


def inspect(paths: Sequence[str | os.PathLike[str]], *, rules: Mapping[str, Rule] | None = None) -> list[Finding]:
    """As `lint`, with rules given as objects; all rules that look at source by default.

    Raises:
        UsageError: A path does not exist.
    """
    return run(paths, chosen_rules() if rules is None else rules).findings
