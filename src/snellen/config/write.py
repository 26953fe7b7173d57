"""Settings back into YAML: a resolved run, and single changes that leave comments and order as they were."""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from snellen.config.document import Document, Position, join_key, parse_document, read_document, split_key
from snellen.config.schema import RunConfig
from snellen.config.validate import put_setting
from snellen.core.files import write_text
from snellen.errors import ConfigError

__all__ = ["apply_settings", "dump", "save"]


def dump(config: RunConfig) -> str:
    """The settings as YAML; loading it again gives an equal `RunConfig`.

    Example:
        >>> dump(RunConfig(task="forgery", seed=3)).splitlines()[0]
        'task: forgery'
    """
    yaml = _round_trip()
    stream = io.StringIO()
    yaml.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def save(config: RunConfig, path: str | Path) -> None:
    """Write the settings as YAML, atomically.

    Raises:
        RunFolderError: The file cannot be written.
    """
    write_text(Path(path), dump(config))


def apply_settings(path: str | Path, settings: Iterable[tuple[str, Any]]) -> None:
    """Change keys of a run file; comments, order and everything else stay.

    Args:
        path: The run file.
        settings: Key paths and values, for example `[("optim.lr", 1e-4)]`; missing sections are made.

    Raises:
        ConfigError: The file cannot be read, or a part of a key path is no section.
        RunFolderError: The file cannot be written.
    """
    path = Path(path)
    wanted = list(settings)
    document = read_document(path)
    text = _replace_in_place(document, wanted)
    write_text(path, text if text is not None else _replace_by_round_trip(document, wanted))


def _replace_in_place(document: Document, settings: Sequence[tuple[str, Any]]) -> str | None:
    """The text with the values overwritten where they stand, `None` when one of them is not a value on one line."""
    lines = document.text.split("\n")
    places = [(document.positions.get(key), value) for key, value in settings]
    if any(place is None or place.value_line != place.value_end_line for place, _ in places):
        return None
    # From the end, so that what is replaced does not move what is still to come.
    for place, value in sorted(places, key=lambda item: _start(item[0]), reverse=True):
        if place is not None:
            line = lines[place.value_line - 1]
            new = json.dumps(value, ensure_ascii=False) if not _is_word(value) else value
            lines[place.value_line - 1] = line[: place.value_column - 1] + new + line[place.value_end_column - 1 :]
    text = "\n".join(lines)
    expected = copy.deepcopy(document.data)
    try:
        for key, value in settings:
            put_setting(expected, key, value)
        return text if parse_document(text, document.path).data == expected else None
    except ConfigError:
        # Aliases, anchors and the like: the slower way knows them.
        return None


def _start(place: Position | None) -> tuple[int, int]:
    return (place.value_line, place.value_column) if place is not None else (0, 0)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value) is not None


def _replace_by_round_trip(document: Document, settings: Sequence[tuple[str, Any]]) -> str:
    yaml = _round_trip()
    try:
        data = yaml.load(document.text)
    except YAMLError as error:
        raise ConfigError(
            f"{document.path} cannot be changed: {getattr(error, 'problem', None) or 'it is not valid YAML'}",
            hint="remove keys that are given twice first",
        ) from error
    if data is None:
        data = CommentedMap()
    for key, value in settings:
        _put(data, key, value)
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def _put(document: Any, key: str, value: Any) -> None:
    *parents, last = split_key(key)
    done = ""
    for part in parents:
        done = join_key(done, part)
        try:
            child = document[part]
        except KeyError:
            child = None
        except (IndexError, TypeError) as error:
            raise ConfigError(f"cannot set {key}: {done} is not there") from error
        if child is None:
            child = document[part] = CommentedMap()
        if not isinstance(child, (MutableMapping, list)):
            raise ConfigError(f"cannot set {key}: {done} holds a single value")
        document = child
    try:
        document[last] = value
    except (IndexError, TypeError) as error:
        raise ConfigError(f"cannot set {key}: {done or 'the file'} takes no such part") from error


def _round_trip() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml
