"""The values of a YAML file, each with its place, as YAML 1.2 and as PyYAML read it."""

from __future__ import annotations

import re

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from snellen.core.source import UNKNOWN, Setting, Span

__all__ = ["SettingsError", "settings_of"]

_LARGEST = 1 << 20
"""Characters of a file that are looked at; configuration is never that large, data is."""
_MOST = 20_000
_DEEPEST = 60

# YAML 1.1, https://yaml.org/type/: what PyYAML resolves. A float needs a dot, and a sign in its exponent.
_FLOAT11 = re.compile(
    r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
    r"|\.(?:nan|NaN|NAN)"
)
_INT11 = re.compile(r"[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+")
_NULLS = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS11: dict[str, object] = {
    **dict.fromkeys(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **_NULLS,
}
# YAML 1.2, the core schema: https://yaml.org/spec/1.2.2/#103-core-schema
_FLOAT12 = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_INT12 = re.compile(r"[-+]?[0-9]+")
_WORDS12: dict[str, object] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **_NULLS,
}
_LONGEST_NUMBER = 40


class SettingsError(Exception):
    """Text that is not YAML; carries the line."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def settings_of(text: str) -> tuple[Setting, ...]:
    r"""All values of a YAML file, in the order of the text; aliases are not followed.

    Args:
        text: One or several documents.

    Raises:
        SettingsError: The text cannot be parsed or is too large.

    Example:
        >>> [(item.key, item.value, item.yaml11) for item in settings_of("optim:\n  lr: 1e-4\n")]
        [('optim.lr', 0.0001, '1e-4')]
    """
    if len(text) > _LARGEST:
        raise SettingsError(f"larger than {_LARGEST >> 20} MiB")
    reader = _Reader(text.split("\n"))
    try:
        for document in YAML(typ="safe", pure=True).compose_all(text):
            if document is not None:
                reader.collect(document, "", 0)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise SettingsError(f"not YAML: {problem}", mark.line + 1 if mark is not None else None) from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # Hostile text can bring the parser itself down.
        raise SettingsError(f"cannot be parsed: {error}") from error
    return tuple(reader.found)


class _Reader:
    """Walks the nodes of a file; one that an alias names again is not visited again."""

    def __init__(self, lines: list[str]) -> None:
        self.found: list[Setting] = []
        self._lines = lines
        self._seen: set[int] = set()

    def collect(self, node: Node, key: str, depth: int) -> None:
        if len(self.found) >= _MOST or depth > _DEEPEST or id(node) in self._seen:
            return
        self._seen.add(id(node))
        start, end = node.start_mark, node.end_mark
        span = Span(start.line + 1, start.column, end.line + 1, end.column)
        if isinstance(node, MappingNode):
            for name, value in node.value:
                if isinstance(name, ScalarNode):
                    self.collect(value, f"{key}.{name.value}" if key else str(name.value), depth + 1)
        elif isinstance(node, SequenceNode):
            items = tuple(_value(item) for item in node.value)
            if items and all(item is not UNKNOWN for item in items):
                self.found.append(Setting(key, items, self._written(span), span))
            for position, item in enumerate(node.value):
                self.collect(item, f"{key}.{position}", depth + 1)
        elif isinstance(node, ScalarNode):
            self.found.append(Setting(key, _value(node), self._written(span), span, _value11(node)))

    def _written(self, span: Span) -> str:
        lines = self._lines[span.start_line - 1 : span.end_line]
        if span.end_line <= len(self._lines):
            lines[-1] = lines[-1][: span.end_column]
        lines[0] = lines[0][span.start_column :]
        return "\n".join(lines)


def _value(node: Node) -> object:
    """As YAML 1.2 reads a scalar; `UNKNOWN` for anything that is none."""
    if not isinstance(node, ScalarNode):
        return UNKNOWN
    text = str(node.value)
    if node.style is not None:
        return text
    if text in _WORDS12:
        return _WORDS12[text]
    if _INT12.fullmatch(text):
        return int(text) if len(text) < _LONGEST_NUMBER else UNKNOWN
    return float(_spelled(text)) if _FLOAT12.fullmatch(text) else text


def _value11(node: ScalarNode) -> object:
    text = str(node.value)
    if node.style is not None:
        return text
    if text in _WORDS11:
        return _WORDS11[text]
    if _INT11.fullmatch(text):
        return _int11(text.replace("_", ""))
    return float(_spelled(text.replace("_", ""))) if _FLOAT11.fullmatch(text) else text


def _spelled(text: str) -> str:
    """`.inf` and `.nan` as Python spells them."""
    return re.sub(r"\.(inf|nan)", r"\1", text.lower())


def _int11(text: str) -> object:
    digits = text.lstrip("+-")
    base = 2 if digits.startswith("0b") else 16 if digits.startswith("0x") else 8 if digits[:1] == "0" else 10
    try:
        return int(text, base) if len(text) < _LONGEST_NUMBER else UNKNOWN
    except ValueError:
        return 0 if set(digits) == {"0"} else UNKNOWN
