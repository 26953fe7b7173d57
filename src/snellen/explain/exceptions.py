"""Explain exceptions where they happen: the answer becomes a note below the traceback."""

from __future__ import annotations

import contextlib
from types import TracebackType

from snellen.core.log import Diagnosis
from snellen.explain import explain

__all__ = ["NOTE", "explain_exception", "explaining", "note_of"]

NOTE = "snellen: "
"""How the note of an answer begins."""


def explain_exception(error: BaseException) -> list[Diagnosis]:
    """Say why an exception was raised; what it was raised from counts too.

    Args:
        error: The exception, as it was caught.

    Returns:
        Diagnoses, best first; empty when nothing is known.

    Example:
        >>> explain_exception(RuntimeError("value cannot be converted to type at::Half without overflow"))[0].slug
        'half-overflow'
    """
    return explain(error)


def note_of(diagnosis: Diagnosis) -> str:
    """An answer in three lines: what it is, what to do, where to read on."""
    command = f"\n  run: {diagnosis.fix.command}" if diagnosis.fix.command else ""
    return (
        f"{NOTE}{diagnosis.title} [{diagnosis.slug}, {diagnosis.score:.0%} sure]\n"
        f"  cause: {' '.join(diagnosis.cause.split())}\n"
        f"  fix: {' '.join(diagnosis.fix.text.split())}{command}\n"
        f"  more: snellen explain {diagnosis.slug}"
    )


class explaining(contextlib.ContextDecorator):  # noqa: N801 - reads like a word: `with snellen.explaining():`
    """Add the answer to an exception that passes through, as a note; a context manager and a decorator.

    Nothing is done until something fails. The exception stays what it is and goes on; if no answer is known, or finding
    one fails, nothing is added.

    Example:
        >>> try:
        ...     with explaining():
        ...         raise RuntimeError("value cannot be converted to type at::Half without overflow")
        ... except RuntimeError as error:
        ...     print(error.__notes__[0].splitlines()[0].startswith("snellen: "))
        True
    """

    def __enter__(self) -> None:
        """Begin to watch."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Add the note."""
        if not isinstance(error, Exception) or any(
            str(note).startswith(NOTE) for note in getattr(error, "__notes__", ())
        ):
            return
        # Whatever happens here must not take the place of what happened there.
        with contextlib.suppress(BaseException):
            diagnoses = explain(error)
            if diagnoses:
                error.add_note(note_of(diagnoses[0]))
