"""Reading weights that somebody else wrote, safely, and loading them without leaving anything random by accident."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from snellen.errors import WeightsError

__all__ = ["LoadReport", "compare_state", "load_into", "read_state_dict"]

_SHOWN = 5
_WRAPPERS = ("state_dict", "model", "teacher", "model_state_dict", "module")


@dataclass(frozen=True, slots=True)
class LoadReport:
    """How a state dict fits a module.

    Args:
        loaded: Number of tensors taken.
        missing: Names that the module has and the file lacks: these stay at their random start.
        unexpected: Names that the file has and the module lacks.
        mismatched: `(name, shape in the file, shape in the module)`.
    """

    loaded: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor of the module came from the file."""
        return not self.missing and not self.mismatched


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a state dict: `.safetensors`, or a `torch.save` file under `weights_only=True`.

    A pickle that holds anything but tensors and plain containers is refused: unpickling it would run its code.

    Args:
        path: The file.

    Returns:
        Names to tensors on the CPU; one wrapping level such as `{"state_dict": ...}` is opened.

    Raises:
        WeightsError: Missing, truncated, of another format or unsafe.
    """
    if not path.is_file():
        nearby = sorted(entry.name for entry in path.parent.glob(f"*{path.suffix}"))[:_SHOWN]
        raise WeightsError(
            f"no weights at {path}",
            hint=f"in that folder: {', '.join(nearby)}" if nearby else f"{path.parent} holds no *{path.suffix} file",
            slug="missing-checkpoint",
        )
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(
                f"{path} ({path.stat().st_size:,} bytes) is not a readable safetensors file: {error}",
                hint="it is truncated or of another format; fetch it again",
                slug="corrupt-checkpoint",
            ) from error
    return _read_torch(path)


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            # torch warns of pickle protocols that it may not read; what it cannot read raises below.
            warnings.simplefilter("ignore", UserWarning)
            data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if zipfile.is_zipfile(path) or "Unsupported global" in str(error) or "weights_only" in str(error):
            raise WeightsError(
                f"{path} is a pickle that holds more than tensors; loading it could run code",
                hint="ask its author for a .safetensors file, or convert it on a machine that you can throw away",
                slug="weights-only-load",
            ) from error
        raise _unreadable(path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise _unreadable(path, error) from error
    for wrapper in _WRAPPERS:
        if isinstance(data, Mapping) and isinstance(data.get(wrapper), Mapping):
            data = data[wrapper]
    if not isinstance(data, Mapping) or not all(isinstance(value, Tensor) for value in data.values()):
        raise WeightsError(f"{path} holds {type(data).__name__}, expected names and tensors (a state dict)")
    return {str(name): value for name, value in data.items()}


def _unreadable(path: Path, error: Exception) -> WeightsError:
    first = str(error).strip().partition(". ")[0].partition("\n")[0] or type(error).__name__
    return WeightsError(
        f"{path} ({path.stat().st_size:,} bytes) is not a readable checkpoint: {first}",
        hint="it is truncated or of another format; fetch it again",
        slug="corrupt-checkpoint",
    )


def compare_state(module: nn.Module, state: Mapping[str, Tensor]) -> LoadReport:
    """How a state dict would fit a module; nothing is loaded.

    Example:
        >>> compare_state(nn.Linear(2, 1), {"weight": torch.zeros(1, 2)}).missing
        ('bias',)
    """
    own = module.state_dict()
    mismatched = tuple(
        (name, tuple(state[name].shape), tuple(own[name].shape))
        for name in own
        if name in state and state[name].shape != own[name].shape
    )
    missing = tuple(name for name in own if name not in state)
    unexpected = tuple(name for name in state if name not in own)
    return LoadReport(len(own) - len(missing) - len(mismatched), missing, unexpected, mismatched)


def load_into(
    module: nn.Module, state: Mapping[str, Tensor], *, source: str, allow_partial: bool = False
) -> LoadReport:
    """Load a state dict, refusing to leave a part at random.

    Args:
        module: Is changed in place only when the load is accepted.
        state: Names to tensors.
        source: Where they came from, for the message.
        allow_partial: Accept missing names; shapes must fit all the same.

    Returns:
        What was loaded and what was not.

    Raises:
        WeightsError: Another architecture, or a part would stay random.

    Example:
        >>> load_into(nn.Linear(2, 1), nn.Linear(2, 1).state_dict(), source="a file").loaded
        2
    """
    own = module.state_dict()
    report = compare_state(module, state)
    if report.mismatched or (report.missing and not allow_partial):
        raise WeightsError(
            f"{source} does not fit {type(module).__name__}: {_describe(report, total=len(own))}",
            hint="choose the architecture that these weights were made for",
            slug="state-dict-mismatch" if report.mismatched or report.loaded == 0 else "silent-random-weights",
        )
    module.load_state_dict({name: value for name, value in state.items() if name in own}, strict=not report.missing)
    return report


def _describe(report: LoadReport, *, total: int) -> str:
    parts = [f"{report.loaded} of {total} tensors fit"]
    if report.missing:
        parts.append(f"{len(report.missing)} missing ({', '.join(report.missing[:_SHOWN])}, ...)")
    if report.unexpected:
        parts.append(f"{len(report.unexpected)} unexpected ({', '.join(report.unexpected[:_SHOWN])}, ...)")
    for name, given, expected in report.mismatched[:_SHOWN]:
        parts.append(f"{name} is {given}, expected {expected}")
    return "; ".join(parts)
