"""The one tree of exceptions that Snellen raises on purpose.

    SnellenError                    a sentence for people; the command line prints it without a traceback
    ├── UsageError                  unusable input: exit code 2
    │   ├── ConfigError             a run file that cannot be used; carries every problem, not the first
    │   ├── DataError               images, masks, folders
    │   ├── WeightsError            checkpoints and pretrained weights
    │   ├── ContractError           two parts of a model that do not fit, both named
    │   ├── RunFolderError          a run's folder that is locked, torn, too old or not writable
    │   └── MissingExtraError       an optional dependency that is not installed
    ├── TrainingStopped             training ended itself to save what is good: exit code 1
    │   └── NonFiniteError          NaN or Inf in loss or gradients
    └── Interrupted                 Ctrl-C or SIGTERM, state saved: exit code 130

A message says what was given and what was expected; `hint` is what to type or change next.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "ContractError",
    "DataError",
    "Interrupted",
    "MissingExtraError",
    "NonFiniteError",
    "RunFolderError",
    "SnellenError",
    "TrainingStopped",
    "UsageError",
    "WeightsError",
]


class SnellenError(Exception):
    """Base of all errors with a message meant for people.

    Args:
        message: What was given and what was expected.
        hint: What to type or change next.
        slug: The rule that knows more; `snellen explain SLUG` prints it.

    Example:
        >>> error = SnellenError("batch_size is 0, expected at least 1", hint="set optim.batch_size: 8")
        >>> print(error)
        batch_size is 0, expected at least 1
        hint: set optim.batch_size: 8
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, slug: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.slug = slug

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class UsageError(SnellenError):
    """The input cannot be used as it is."""

    exit_code = 2


class ConfigError(UsageError):
    """A run file that cannot be used; the message lists every problem."""


class DataError(UsageError):
    """An image, a mask or a folder that cannot be used."""


class WeightsError(UsageError):
    """A checkpoint that is missing, truncated, of another architecture or of an unsafe format."""


class ContractError(UsageError):
    """Two parts of a model whose contracts do not fit; both are named."""


class RunFolderError(UsageError):
    """A run's folder that is locked by another process, torn, of another version or not writable."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed; the hint is the command that installs it."""


class TrainingStopped(SnellenError):  # noqa: N818 - a stop on purpose, not a failure of ours
    """Training ended itself; what was good is saved."""


class NonFiniteError(TrainingStopped):
    """A loss or a gradient is NaN or Inf; raised before the optimiser step."""


class Interrupted(SnellenError):  # noqa: N818 - the user's wish, not a failure
    """The user or the scheduler stopped the process; the state is saved."""

    exit_code = 130
