"""Read what can be linted: Python files, the code cells of notebooks, and settings in YAML."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from snellen.core.source import Setting, ShellCommand
from snellen.lint.text import split_lines

__all__ = ["SETTINGS_SUFFIXES", "Module", "Place", "ReadError", "check_text", "parse_text", "read", "read_notebook"]

SETTINGS_SUFFIXES = (".yaml", ".yml")

_LARGEST = 64 << 20
_TEMPLATE_MARKS = ("{{", "{%")
"""What a template of YAML holds, which is not YAML yet."""
_SHELL_CELLS = ("bash", "sh", "shell", "script", "!")
_PYTHON_CELLS = ("time", "timeit", "capture", "prun")
_MAGIC = re.compile(r"^(?P<indent>\s*)(?P<target>[\w, ]+=\s*)?(?P<mark>[!%])(?P<code>[^=].*)$")


class ReadError(Exception):
    """A file that cannot be read as source; carries the line."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line of a notebook's joined text stands: the code cell, counted from 1, and its line."""

    cell: int
    line: int


@dataclass(slots=True)
class Module:
    """One file, parsed.

    Args:
        text: Its text, or a notebook's code cells one after another with commands blanked out.
        tree: The syntax tree, empty for YAML.
        settings: The values of a YAML file.
        places: For a notebook, where each line of the text stands.
        shell: A notebook's shell and IPython commands.
        problems: Cells that could not be parsed and were left out.
    """

    text: str
    tree: ast.Module
    settings: tuple[Setting, ...] = ()
    places: list[Place] = field(default_factory=list)
    shell: list[ShellCommand] = field(default_factory=list)
    problems: list[ReadError] = field(default_factory=list)


def read(path: Path) -> Module:
    """Read one file.

    Raises:
        ReadError: It cannot be read, decoded or parsed.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ReadError(f"larger than {_LARGEST >> 20} MiB")
        raw = path.read_bytes()
    except OSError as error:
        raise ReadError(error.strerror or str(error)) from error
    if path.suffix in SETTINGS_SUFFIXES:
        return _yaml(raw)
    return read_notebook(raw) if path.suffix == ".ipynb" else _python(raw)


def check_text(text: str, suffix: str) -> None:
    """Make sure that a text can be read as the kind of file that its suffix says.

    Raises:
        ReadError: It cannot be parsed.
    """
    if suffix in SETTINGS_SUFFIXES:
        _settings(text)
    else:
        parse_text(text.removeprefix("\ufeff"))


def parse_text(text: str) -> ast.Module:
    """Parse source, silent about what Python would only warn of.

    Raises:
        ReadError: A syntax error, or nesting too deep to be parsed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        raise ReadError(f"syntax error: {error.msg}", error.lineno) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ReadError(f"cannot be parsed: {error}") from error


def _python(raw: bytes) -> Module:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        text = raw.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise ReadError(f"not readable as text: {error}") from error
    return Module(text, parse_text(text))


def _yaml(raw: bytes) -> Module:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(f"not readable as text: {error}") from error
    try:
        return Module(text, ast.Module([], []), settings=_settings(text))
    except ReadError:
        if any(mark in text for mark in _TEMPLATE_MARKS):
            return Module("", ast.Module([], []))
        raise


def _settings(text: str) -> tuple[Setting, ...]:
    from snellen.lint.settings import SettingsError, settings_of  # noqa: PLC0415 - most folders hold no YAML

    try:
        return settings_of(text)
    except SettingsError as error:
        raise ReadError(str(error), error.line) from error


def read_notebook(raw: bytes) -> Module:
    """The code cells of a notebook, one after another.

    Raises:
        ReadError: It is not one; a cell that cannot be parsed is a problem of the result.
    """
    try:
        cells = json.loads(raw)["cells"]
        sources = [_source(cell) for cell in cells if cell.get("cell_type") == "code"]
    except (ValueError, RecursionError) as error:
        raise ReadError(f"not a notebook: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ReadError("not a notebook: it has no list of cells") from error
    module = Module("", ast.Module([], []))
    parts: list[str] = []
    for number, source in enumerate(sources, 1):
        lines = _blank_commands(source, module)
        try:
            parse_text("".join(lines))
        except ReadError as error:
            module.problems.append(ReadError(f"cell {number}: {error}", error.line))
            lines = ["\n"] * len(lines)
        parts.extend(lines)
        module.places.extend(Place(number, line) for line in range(1, len(lines) + 1))
    module.text = "".join(parts)
    module.tree = parse_text(module.text)
    return module


def _source(cell: dict[str, object]) -> str:
    source = cell.get("source", "")
    return "".join(str(part) for part in source) if isinstance(source, list) else str(source)


def _blank_commands(source: str, module: Module) -> list[str]:
    """The cell's lines as Python alone; every line keeps its place and ends with a line break."""
    lines = [line.rstrip("\r\n") for line in split_lines(source)]
    first = len(module.places) + 1
    if lines and lines[0].startswith("%%"):
        kind = lines[0][2:].split(maxsplit=1)[0] if len(lines[0]) > 2 else ""
        if kind in _SHELL_CELLS:
            module.shell += [
                ShellCommand(line.strip(), "%%", first + n) for n, line in enumerate(lines[1:], 1) if line.strip()
            ]
        if kind not in _PYTHON_CELLS:
            return ["\n"] * len(lines)
        lines[0] = ""
    return [f"{_blank(line, module, first + offset)}\n" for offset, line in enumerate(lines)]


def _blank(line: str, module: Module, number: int) -> str:
    found = _MAGIC.match(line)
    if found is None:
        # `name?` asks IPython for help.
        return "" if re.match(r"^\s*(?:\?{1,2}[\w.]+|[\w.]+\?{1,2})\s*$", line) else line
    if found["mark"] == "%" and not re.match(r"%?[a-z_]", found["code"]):
        return line
    module.shell.append(ShellCommand(found["code"].strip(), found["mark"], number))
    return f"{found['indent']}{found['target'] or ''}{'None' if found['target'] else 'pass'}"
