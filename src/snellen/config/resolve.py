"""The one step in which every `auto` becomes a value and every path absolute; the answer says why."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from snellen.config.document import join_key
from snellen.config.machines import MACHINES, Machine
from snellen.config.schema import RunConfig
from snellen.errors import ConfigError

__all__ = ["Resolution", "Resolved", "Resolver", "resolve", "target_machine", "with_setting"]

C = TypeVar("C", bound=RunConfig)

Resolver = Callable[[Any, Machine], tuple[Any, str]]
"""Given the settings and the machine, the value of one key and why it is that."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """How one `auto` was settled."""

    key: str
    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Resolved(Generic[C]):
    """Settings in which nothing is open.

    Args:
        config: No `auto` is left, paths are absolute.
        table: What was `auto`, in the order of the schema.
    """

    config: C
    table: tuple[Resolution, ...]


def target_machine(config: RunConfig, here: Machine) -> Machine:
    """The machine that a run is meant for: the one that `machine:` names, else this one.

    Args:
        config: The settings.
        here: This machine.
    """
    return MACHINES.get(config.machine, here)


def resolve(
    config: C, machine: Machine, *, root: str | Path, resolvers: Mapping[str, Resolver] | None = None
) -> Resolved[C]:
    """Settle everything that a run file leaves open.

    Args:
        config: The settings as written.
        machine: Where it will run: this machine for training, `target_machine` for a check.
        root: The folder that relative paths start from: that of the run file.
        resolvers: The task's answers by key path, for example `{"data.pad_multiple": ...}`; they win over the
            general ones.

    Raises:
        ConfigError: An `auto` has no answer.

    Example:
        >>> resolved = resolve(RunConfig(task="x"), Machine("here", "cpu", 1, 8.0, bf16=False, cpus=4), root="/run",
        ...     resolvers={"data.pad_multiple": lambda config, machine: (14, "the backbone's patch")})
        >>> resolved.config.precision, resolved.config.data.workers, resolved.config.data.pad_multiple
        ('fp32', 3, 14)
    """
    answers = {**_GENERAL, **(resolvers or {})}
    base = Path(root).absolute()
    places: dict[str, Any] = {}
    for key, value in _leaves(config, ""):
        if isinstance(value, Path):
            places[key] = _from(base, value)
        elif isinstance(value, tuple) and any(isinstance(item, Path) for item in value):
            places[key] = tuple(_from(base, item) for item in value)
    # Those who settle a value may have to look at the data.
    placed = _replace(config, places, "")
    changes: dict[str, Any] = dict(places)
    table: list[Resolution] = []
    for key, value in _leaves(config, ""):
        if value == "auto" and key in answers:
            settled, why = answers[key](placed, machine)
            table.append(Resolution(key, settled, why))
            changes[key] = settled
        elif value == "auto":
            raise ConfigError(f"{key} is auto, and nothing here can settle it", hint=f"give {key} a value")
    return Resolved(_replace(config, changes, ""), tuple(table))


def with_setting(config: C, key: str, value: Any) -> C:
    """The same settings with another value.

    Args:
        config: Stays as it is.
        key: Path such as `optim.epochs`.
        value: What the setting becomes.

    Raises:
        KeyError: There is no such setting.

    Example:
        >>> with_setting(RunConfig(task="forgery"), "optim.epochs", 3).optim.epochs
        3
    """
    if key not in dict(_leaves(config, "")):
        raise KeyError(key)
    return _replace(config, {key: value}, "")


def _from(base: Path, path: Path) -> Path:
    # Without `..`, so that messages and commands name places as people know them; links are left alone.
    return Path(os.path.normpath(base / path))


def _leaves(model: BaseModel, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in type(model).model_fields:
        key, value = join_key(prefix, name), getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, key)
        else:
            yield key, value


M = TypeVar("M", bound=BaseModel)


def _replace(model: M, changes: Mapping[str, Any], prefix: str) -> M:
    values: dict[str, Any] = {}
    for name in type(model).model_fields:
        key, value = join_key(prefix, name), getattr(model, name)
        values[name] = _replace(value, changes, key) if isinstance(value, BaseModel) else changes.get(key, value)
    return type(model)(**values)


def _machine(_config: RunConfig, machine: Machine) -> tuple[str, str]:
    # What this machine is stands in environment.json; the name "auto" keeps a resolved run file valid elsewhere.
    return "auto", f"this machine ({machine.name})"


def _precision(_config: RunConfig, machine: Machine) -> tuple[str, str]:
    if machine.accelerator == "cpu":
        return "fp32", "no accelerator: half precision is slower on a CPU"
    if machine.accelerator == "mps":
        return "fp32", "autocast on Apple GPUs covers too few operations"
    if machine.bf16:
        return "bf16", f"{machine.name} computes bfloat16, which needs no loss scaling"
    return "fp16", f"{machine.name} has no bfloat16: float16 with loss scaling"


def _workers(_config: RunConfig, machine: Machine) -> tuple[int, str]:
    if machine.cpus is None:
        return 4, f"the number of cores of {machine.name} is not known"
    count = min(8, max(0, machine.cpus - 1))
    return count, f"{machine.cpus} cores, one kept for the training process, 8 at most"


def _devices(_config: RunConfig, machine: Machine) -> tuple[int, str]:
    if machine.accelerator == "cpu":
        return 1, "no accelerator"
    return machine.devices, f"all devices of {machine.name}"


def _layout(_config: RunConfig, _machine: Machine) -> tuple[str, str]:
    # Each folder may lie in its own way, so the word stays, and whoever reads a folder recognises it.
    return "auto", "each folder is recognised by what is in it"


def _cache(_config: RunConfig, _machine: Machine) -> tuple[str, str]:
    # How much memory is free is known when the run starts.
    return "auto", "what there is to keep, and at most half of the free memory"


def _wandb(_config: RunConfig, _machine: Machine) -> tuple[str, str]:
    # Whether there is a key and a network is known when the run starts.
    return "auto", "where wandb is installed, has a key and its server answers"


_GENERAL: Mapping[str, Resolver] = {
    "precision": _precision,
    "machine": _machine,
    "devices": _devices,
    "data.layout": _layout,
    "data.workers": _workers,
    "data.cache": _cache,
    "track.wandb": _wandb,
}
