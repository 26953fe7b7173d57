"""Files that are whole or absent: atomic writes, append-only JSON lines, and JSON in which NaN cannot hide."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import enum
import errno
import io
import itertools
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from snellen.errors import RunFolderError

__all__ = [
    "append_json_line",
    "plain",
    "read_json",
    "read_json_lines",
    "replacing",
    "sync",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_lines",
    "write_text",
    "writing",
]

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another folder with `output:`"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another folder with `output:`"),
    errno.EACCES: ("permission denied", "choose a folder you may write to with `output:`"),
    errno.EPERM: ("permission denied", "choose a folder you may write to with `output:`"),
    errno.EROFS: ("the file system is read-only", "choose a folder you may write to with `output:`"),
    errno.ENOTDIR: ("a part of this path is a file, not a folder", "choose another folder with `output:`"),
    errno.EISDIR: ("this is a folder, expected a file", "choose another name"),
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn every `OSError` of a write into one clear line.

    Raises:
        RunFolderError: The disk is full, the folder is not writable, a file stands in the way.
    """
    try:
        yield
    except OSError as error:
        reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), None))
        raise RunFolderError(f"cannot write {path}: {reason}", hint=hint) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file written beside `path`, synced, and given its name when the block has ended well; else nothing is left.

    Raises:
        RunFolderError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(3)}.tmp")
    with writing(path):
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new one, never a part.

    The content is written beside the file, synced to disk and renamed over it.

    Raises:
        RunFolderError: It cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_bytes(folder / "a.bin", b"whole")
        >>> [entry.name for entry in folder.iterdir()]
        ['a.bin']
    """
    with replacing(Path(path)) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, line ends as they are; atomic as `write_bytes`.

    Bytes of a path that are no text are written as they are told elsewhere.

    Raises:
        RunFolderError: It cannot be written.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines as UTF-8 as they come, so that memory stays flat; atomic as `write_bytes`.

    Bytes of a path that are no text are written as they are told elsewhere.

    Raises:
        RunFolderError: It cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> write_lines(path, (str(number) for number in range(3)))
        >>> path.read_text().split()
        ['0', '1', '2']
    """
    with replacing(path) as file:
        for line in lines:
            file.write(f"{line}\n".encode(errors="backslashreplace"))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table row by row, beside the file, which takes the old one's place when it is whole.

    Args:
        path: Its folder exists.
        columns: Their names.
        rows: Read as they are written.

    Raises:
        RunFolderError: It cannot be written.
    """
    write_lines(path, (_csv_line(row) for row in itertools.chain([columns], rows)))


def _csv_line(row: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON, atomically; see `plain` for what may stand in it.

    A list of numbers stays on one line: a confusion of 1,000 classes is a million of them.

    Raises:
        RunFolderError: It cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> write_json(path, {"confusion": [[3, 1], [0, 4]], "classes": ["a", "b"]})
        >>> print(path.read_text(), end="")
        {
          "confusion": [
            [3, 1],
            [0, 4]
          ],
          "classes": [
            "a",
            "b"
          ]
        }
    """
    write_text(path, _indented(plain(data), "\n") + "\n")


def _indented(value: Any, margin: str) -> str:
    """As `json.dumps` with an indent of two, but for lists of numbers."""
    within = margin + "  "
    if isinstance(value, dict) and value:
        items = (f"{_json(key)}: {_indented(item, within)}" for key, item in value.items())
        return f"{{{within}{f',{within}'.join(items)}{margin}}}"
    if isinstance(value, list) and not all(type(item) in {int, float} for item in value):
        return f"[{within}{f',{within}'.join(_indented(item, within) for item in value)}{margin}]"
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        RunFolderError: It is missing or torn.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path} is torn or not JSON: {error}") from error


def append_json_line(path: Path, data: Mapping[str, Any]) -> None:
    """Add one record to a `.jsonl` file; a line torn by an earlier crash is closed first.

    Raises:
        RunFolderError: It cannot be written.
    """
    line = json.dumps(plain(data), ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace") + b"\n"
    with writing(path), path.open("ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a `.jsonl` file in order; torn lines are passed over, a missing file has none.

    Raises:
        RunFolderError: There is something that cannot be read, for example a folder.
    """
    if not path.exists():
        return
    try:
        opened = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}") from error
    with opened as file:
        for line in file:
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    yield record


def plain(value: Any) -> Any:  # noqa: PLR0911 - one answer per kind of value reads best
    """The value as JSON can hold it: dataclasses, mappings, enumerations and paths become plain data.

    NaN and infinities, which JSON does not have, become the strings `"nan"`, `"inf"` and `"-inf"`; `float()` reads
    them back. Anything unknown becomes its `str`.

    Example:
        >>> plain({"loss": float("nan"), "file": Path("a.png"), "sizes": (1, 2)})
        {'loss': 'nan', 'file': 'a.png', 'sizes': [1, 2]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to disk; without it a rename is not durable.

    Raises:
        OSError: The disk reports an error.
    """
    handle = None
    try:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
    except OSError as error:
        # Some file systems cannot sync a folder, and Windows cannot open one.
        if not isinstance(error, PermissionError) and error.errno != errno.EINVAL:
            raise
    finally:
        if handle is not None:
            os.close(handle)
