"""How a stage says that it failed, or that there is nothing to try."""

from __future__ import annotations

import traceback

from snellen.errors import SnellenError
from snellen.rehearsal.stages import Failure

__all__ = ["Absent", "Several", "failure_of"]


class Absent(Exception):  # noqa: N818 - an answer, not a failure
    """Raised by a stage: the run has no such thing; the message says why."""


class Several(Exception):  # noqa: N818 - a bundle of failures
    """Raised by a stage that went on after an error, with all of them."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__(f"{len(failures)} failures")
        self.failures = failures


def failure_of(error: BaseException, *, level: str = "error", about: str = "") -> Failure:
    """An exception as plain data; a rule of its own or its traceback may explain it.

    Example:
        >>> failure_of(KeyError("label"), about="sample 3").message
        "sample 3: KeyError: 'label'"
    """
    prefix = f"{about}: " if about else ""
    if isinstance(error, SnellenError):
        return Failure(f"{prefix}{error.message}", hint=error.hint or "", slug=error.slug or "", level=level)
    lines = str(error).strip().splitlines()
    text = "".join(traceback.format_exception(error))
    return Failure(f"{prefix}{type(error).__name__}: {lines[0] if lines else ''}", text, level=level)
