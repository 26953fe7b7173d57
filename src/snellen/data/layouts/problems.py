"""Sentences about files that do not fit, with counts and the first names."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.core.facts.data import ListingKind, ListingProblem

__all__ = ["counted", "shown"]

_PATHS_KEPT = 20
_NAMES_SAID = 5
_FORMS = {"has": "have", "is": "are", "names": "name", "leads": "lead", "shares": "share"}


def shown(name: str) -> str:
    r"""A name as it can be printed, also when it is no UTF-8.

    Example:
        >>> shown("caf\udce9.png")
        'caf\\udce9.png'
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(kind: ListingKind, paths: Sequence[str], of: int, sentence: str) -> tuple[ListingProblem, ...]:
    """A problem with its count and first names; nothing without paths.

    Args:
        kind: What does not fit.
        paths: Every file it concerns.
        of: Among how many.
        sentence: What stands between count and names; verbs in braces follow the count: `images {has} no mask`.

    Example:
        >>> counted("image-without-mask", ["a/1.png"], 6, "images {has} no mask in masks")[0].message
        '1 of 6 images has no mask in masks: 1.png'
    """
    if not paths:
        return ()
    for verb, plural in _FORMS.items():
        # Not str.format: the sentence may hold a folder's name, with any braces in it.
        sentence = sentence.replace(f"{{{verb}}}", verb if len(paths) == 1 else plural)
    first = ", ".join(shown(path.rstrip("/").rpartition("/")[2]) for path in paths[:_NAMES_SAID])
    more = f" and {len(paths) - _NAMES_SAID} more" if len(paths) > _NAMES_SAID else ""
    message = f"{len(paths)} of {of} {sentence}: {first}{more}"
    return (ListingProblem(kind, message, tuple(paths[:_PATHS_KEPT]), len(paths), of),)
