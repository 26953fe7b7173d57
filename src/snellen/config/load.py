"""Run files into typed settings."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from snellen.config.document import Document, Position, parse_value, read_document
from snellen.config.schema import RunConfig, Section
from snellen.config.validate import put_setting, validate
from snellen.core.finding import Finding
from snellen.errors import ConfigError

__all__ = ["Loaded", "load", "load_data", "parse_section", "problems", "read_task"]

C = TypeVar("C", bound=RunConfig)
S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[C]):
    """A run file as read.

    Args:
        config: The settings as written; `None` when there are problems.
        data: The same as plain nested data, overrides included.
        positions: Place of every key path in the file.
        problems: Everything that is wrong with it.
        path: The run file, `None` for settings made in Python.
        root: The folder that relative paths start from.
    """

    config: C | None
    data: Mapping[str, Any]
    positions: Mapping[str, Position] = field(default_factory=dict)
    problems: tuple[Finding, ...] = ()
    path: Path | None = None
    root: Path = field(default_factory=Path.cwd)

    def require(self) -> C:
        """The settings.

        Raises:
            ConfigError: There are problems; the message lists all of them.
        """
        if self.config is not None:
            return self.config
        count = len(self.problems)
        lines = [f"{self.path or 'the settings'}: {count} problem{'s' if count != 1 else ''}"]
        lines += [f"  {finding.location}: {finding.message}" for finding in self.problems]
        raise ConfigError("\n".join(lines), hint=f"snellen check {self.path} --fix" if self.path else None)


def load(path: str | Path, schema: type[C], *, overrides: Sequence[str] = ()) -> Loaded[C]:
    """Read a run file.

    Args:
        path: The YAML file.
        schema: The task's run model.
        overrides: Settings that win over the file, such as `"optim.epochs=1"`; typed as the file is.

    Raises:
        ConfigError: The file cannot be read as YAML at all, or an override is not `key=value`. Problems with single
            keys do not raise: they are listed in the answer.
    """
    document = read_document(path)
    return _finish(document, schema, overrides, Path(path))


def load_data(data: Mapping[str, Any], schema: type[C], *, root: Path | None = None) -> Loaded[C]:
    """Settings from nested data instead of a file, judged the same way.

    Args:
        data: As a run file would hold it.
        schema: The task's run model.
        root: The folder that relative paths start from; the current one without it.

    Example:
        >>> loaded = load_data({"task": "forgery", "optim": {"lr": "1e-4"}}, RunConfig)
        >>> print(loaded.problems[0].message)
        optim.lr is '1e-4' (text), expected a number above 0
    """
    loaded = _finish(Document("the settings", dict(copy.deepcopy(dict(data)))), schema, (), None)
    return replace(loaded, root=root or Path.cwd())


def problems(path: str | Path, schema: type[RunConfig]) -> list[Finding]:
    """Everything that is wrong with a run file.

    Raises:
        ConfigError: It cannot be read as YAML at all.
    """
    return list(load(path, schema).problems)


def parse_section(model: type[S], data: object) -> S:
    """One section of a run file by itself, when others may have problems.

    Args:
        model: The section's model.
        data: Plain nested data, as read from YAML.

    Raises:
        ConfigError: It does not fit the model.

    Example:
        >>> from snellen.config.schema import OptimConfig
        >>> parse_section(OptimConfig, {"epochs": 3}).epochs
        3
    """
    try:
        # As JSON, because only there do strict models take text for a path.
        return model.model_validate_json(json.dumps(data))
    except (ValidationError, TypeError, ValueError) as error:
        raise ConfigError(f"this section has problems of its own: {error}") from error


def read_task(path: str | Path) -> str:
    """The task that a run file names, before its other keys can be judged.

    Raises:
        ConfigError: It cannot be read, or names no task.
    """
    document = read_document(path)
    task = document.data.get("task")
    if not isinstance(task, str) or not task:
        found = f"task is {task!r}" if "task" in document.data else "it has no `task`"
        raise ConfigError(f"{path}: {found}, expected the name of a task", hint="add a line such as `task: forgery`")
    return task


def _finish(document: Document, schema: type[C], overrides: Sequence[str], path: Path | None) -> Loaded[C]:
    keys = frozenset(_override(document.data, override) for override in overrides)
    config, found = validate(document, schema, overridden=keys)
    root = path.absolute().parent if path is not None else Path.cwd()
    typed = config if isinstance(config, schema) else None
    return Loaded(typed, document.data, document.positions, found, path, root)


def _override(data: dict[str, Any], override: str) -> str:
    key, sign, text = override.partition("=")
    key = key.strip()
    if not sign or not key:
        raise ConfigError(f"{override!r} is no setting, expected key=value such as optim.epochs=1")
    put_setting(data, key, parse_value(text))
    return key
