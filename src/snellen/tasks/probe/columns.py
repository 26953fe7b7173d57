"""What the columns of a table of answers are called."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["columns_of"]


def columns_of(heads: Iterable[str], *, truth: bool = False) -> tuple[str, ...]:
    """Names of the columns of a table of answers.

    Example:
        >>> columns_of(["skin"])
        ('image', 'skin', 'skin_probability')
    """
    more = ("{}_truth", "{}", "{}_probability") if truth else ("{}", "{}_probability")
    return ("image", *(one.format(head) for head in heads for one in more))
