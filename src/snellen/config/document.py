"""A YAML file as plain data, with the place of every key: nothing in it is ever run, and its size is bounded."""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from snellen.core.finding import Finding, Level, Location
from snellen.errors import ConfigError

__all__ = ["Document", "Position", "join_key", "parse_document", "parse_value", "read_document", "split_key"]

MAX_BYTES: Final = 256 * 1024
MAX_VALUES: Final = 20_000
MAX_DEPTH: Final = 40
_LOOKED_AT: Final = 512
_SHOWN: Final = 60

_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = {_TAG + kind for kind in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq")}


@dataclass(frozen=True, slots=True)
class Position:
    """Where a key and its value stand; lines and columns count from 1, the end is exclusive."""

    line: int
    column: int
    value_line: int
    value_column: int
    value_end_line: int
    value_end_column: int


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file taken apart.

    Args:
        path: As the user named it.
        data: Nested dictionaries, lists and scalars.
        positions: Place of every key path, such as `optim.lr` or `code[0]`.
        problems: Duplicate keys, tags and other things that plain data cannot hold.
        text: The whole file.
    """

    path: str
    data: dict[str, Any]
    positions: dict[str, Position] = field(default_factory=dict)
    problems: tuple[Finding, ...] = ()
    text: str = ""


def join_key(parent: str, part: str | int) -> str:
    """The key path of a part.

    Example:
        >>> join_key("optim", "lr"), join_key("code", 0), join_key("", "seed")
        ('optim.lr', 'code[0]', 'seed')
    """
    if isinstance(part, int):
        return f"{parent}[{part}]"
    return f"{parent}.{part}" if parent else part


def split_key(key: str) -> tuple[str | int, ...]:
    """The parts of a key path.

    Example:
        >>> split_key("data.sizes[1].height")
        ('data', 'sizes', 1, 'height')
    """
    parts: list[str | int] = []
    for piece in key.split("."):
        name, *indices = piece.split("[")
        if name:
            parts.append(name)
        parts.extend(int(index.rstrip("]")) for index in indices if index.rstrip("]").isdigit())
    return tuple(parts)


def read_document(path: str | Path) -> Document:
    """Read a YAML 1.2 file: `1e-4` is a number, `yes` is text, a key stands once.

    Raises:
        ConfigError: It cannot be read at all: missing, too large, not UTF-8, not YAML, not a mapping.
    """
    name = str(path)
    try:
        raw = _read(Path(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"cannot read {name}: {reason}", hint=_nearby(Path(path))) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_BYTES // 1024} KiB, which no run file is")
    encoding = _wide_encoding(raw)
    if encoding:
        hint = f"save it as UTF-8: iconv -f {encoding} -t UTF-8 {name} > new.yaml"
        raise ConfigError(f"{name} is {encoding} text, expected UTF-8", hint=hint)
    if b"\0" in raw:
        raise ConfigError(f"{name} is binary, expected YAML text such as `task: forgery`")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line} is not UTF-8 text") from error
    return parse_document(text, name)


def _wide_encoding(raw: bytes) -> str:
    """UTF-16 or UTF-32, by their marks or by a zero beside every letter; `""` for anything else."""
    if raw.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) and len(raw) % 2 == 0:
        return "UTF-16"
    head = raw[: 2 * (min(len(raw), _LOOKED_AT) // 2)]
    for zeros, letters, name in ((head[1::2], head[::2], "UTF-16LE"), (head[::2], head[1::2], "UTF-16BE")):
        if head and not any(zeros) and letters.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in letters):
            return name
    return ""


def _read(path: Path) -> bytes:
    # Without O_NONBLOCK a pipe that nobody writes into would block right here.
    with os.fdopen(
        os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
    ) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        return file.read(MAX_BYTES + 1)


def parse_document(text: str, name: str) -> Document:
    """Take YAML text apart; see `read_document`.

    Raises:
        ConfigError: It is not YAML, or not a mapping.
    """
    try:
        node = YAML(typ="safe", pure=True).compose(text)
        if node is None:
            return Document(name, {})
        if not isinstance(node, MappingNode):
            raise ConfigError(f"{name} holds {_KINDS[type(node)]}, expected keys and values such as `task: forgery`")
        builder = _Builder(name)
        return Document(name, builder.mapping(node, "", 0), builder.positions, tuple(builder.problems), text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None) if isinstance(error, MarkedYAMLError) else None
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{place}: not valid YAML: {problem}", hint=_tab_hint(text)) from error
    except RecursionError as error:
        raise ConfigError(f"{name} is nested too deeply for a run file") from error


def parse_value(text: str) -> Any:
    """A value typed on the command line, read as YAML reads it.

    Raises:
        ConfigError: It is not YAML.

    Example:
        >>> parse_value("1e-4"), parse_value("[1, 2]"), parse_value("net")
        (0.0001, [1, 2], 'net')
    """
    document = parse_document(f"value: {text}\n", "command line")
    if document.problems or set(document.data) != {"value"}:
        raise ConfigError(f"cannot read the value {text!r}: expected a number, a word or [a, list]")
    return document.data["value"]


_KINDS: dict[type[Node], str] = {ScalarNode: "a single value", SequenceNode: "a list", MappingNode: "a mapping"}


class _Builder:
    """Turns YAML nodes into plain data and notes places and problems on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.positions: dict[str, Position] = {}
        self.problems: list[Finding] = []
        self._values = 0
        self._construct = YAML(typ="safe", pure=True).constructor.construct_object

    def mapping(self, node: MappingNode, prefix: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge" or (key_node.value == "<<" and not key_node.style):
                merged.update(self._merge(value_node, prefix, depth))
                continue
            if not isinstance(key_node, ScalarNode):
                self._problem(key_node, prefix, "config-type", f"a key is {_KINDS[type(key_node)]}, expected a word")
                continue
            name = str(key_node.value)
            key = join_key(prefix, name)
            if name in result:
                self._duplicate(key_node, key)
                continue
            value = self._value(value_node, key, depth)
            self.positions[key] = _position(key_node, value_node)
            result[name] = value
        return merged | result

    def _merge(self, node: Node, prefix: str, depth: int) -> dict[str, Any]:
        sources = node.value if isinstance(node, SequenceNode) else [node]
        result: dict[str, Any] = {}
        for source in sources:
            if isinstance(source, MappingNode):
                self._spend(source, depth)
                result = self.mapping(source, prefix, depth + 1) | result
            else:
                self._problem(source, prefix, "config-type", "`<<` takes a mapping to merge in")
        return result

    def _value(self, node: Node, key: str, depth: int) -> Any:
        self._spend(node, depth)
        if node.tag not in _PLAIN_TAGS:
            tag = str(node.tag).replace(_TAG, "!!")
            self._problem(node, key, "config-type", f"{key} has the tag {tag}; a run file holds plain values only")
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, key, depth + 1)
        if isinstance(node, SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                place = join_key(key, index)
                items.append(self._value(item, place, depth + 1))
                self.positions[place] = _position(item, item)
            return items
        return self._scalar(node, key)

    def _scalar(self, node: Node, key: str) -> Any:
        if node.tag == _TAG + "timestamp":
            return str(node.value)
        try:
            value = self._construct(node)
        except (ValueError, YAMLError, OverflowError):
            kind = str(node.tag).removeprefix(_TAG)
            self._problem(node, key, "config-type", f"{key} is {_short(node.value)}, which cannot be read as {kind}")
            return None
        if isinstance(value, dt.date):
            return str(node.value)
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            self._problem(node, key, "config-type", f"{key} holds half a character (a lone surrogate)")
            return None
        return value

    def _spend(self, node: Node, depth: int) -> None:
        # Aliases are followed, so a few lines can stand for billions of values, or for themselves.
        self._values += 1
        if self._values > MAX_VALUES or depth > MAX_DEPTH:
            line = node.start_mark.line + 1
            what = f"more than {MAX_VALUES} values" if self._values > MAX_VALUES else f"more than {MAX_DEPTH} levels"
            raise ConfigError(f"{self.name}:{line} holds {what} once its aliases are followed; no run file does")

    def _duplicate(self, node: Node, key: str) -> None:
        first = self.positions[key].line
        self._problem(node, key, "config-unknown-key", f"{key} is given twice: it stands on line {first} already")

    def _problem(self, node: Node, key: str, slug: str, message: str) -> None:
        place = Location(self.name, node.start_mark.line + 1, node.start_mark.column + 1, key or None)
        self.problems.append(Finding(slug, Level.ERROR, message, place))


def _position(key: Node, value: Node) -> Position:
    start, end = value.start_mark, value.end_mark
    return Position(
        key.start_mark.line + 1,
        key.start_mark.column + 1,
        start.line + 1,
        start.column + 1,
        end.line + 1,
        end.column + 1,
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def _tab_hint(text: str) -> str | None:
    return "this file has tabs; YAML indents and separates with spaces" if "\t" in text else None


def _nearby(path: Path) -> str | None:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in {".yaml", ".yml"})
    except OSError:
        return None
    return f"run files in {path.parent}: {', '.join(names[:5])}" if names else None
