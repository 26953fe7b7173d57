"""A command that cannot be started, told as a shell tells it."""

from __future__ import annotations

from snellen.errors import UsageError

__all__ = ["not_started"]


def not_started(program: str, error: OSError) -> UsageError:
    """The error for a program that did not start, with the exit code of a shell: 127 when there is none, else 126.

    Args:
        program: Its name, as given.
        error: What the system said.

    Example:
        >>> failure = not_started("trian.py", FileNotFoundError(2, "No such file or directory"))
        >>> failure.message, failure.exit_code
        ('cannot run trian.py: no such program', 127)
    """
    missing = isinstance(error, FileNotFoundError)
    what = "no such program" if missing else (error.strerror or str(error))
    failure = UsageError(f"cannot run {program}: {what}", hint="snellen watch -- python train.py")
    failure.exit_code = 127 if missing else 126
    return failure
