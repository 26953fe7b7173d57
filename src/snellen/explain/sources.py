"""What can be explained: a log, a saved notebook, event files of TensorBoard, a trainer's state, a folder of them."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

from snellen.errors import UsageError
from snellen.explain.decoding import text_stream
from snellen.explain.events import EventFile, is_event_file
from snellen.explain.notebook import outputs_of

__all__ = ["files_of", "opened"]

_LARGEST_DOCUMENT = 256 << 20
"""Bytes of a notebook or of a trainer's state, which are parsed whole."""
_DEPTH, _LOOKED_AT, _READ = 3, 5000, 12
"""Levels of a folder and files in it that are looked at; files that are read, the newest."""
_LONGEST_LINE = 1 << 24
_NOT_FINITE = re.compile(rb': "(nan|-?inf)"')
_LOG_ENDINGS = (".log", ".out", ".err", ".log.gz", ".jsonl", ".log.json")
_LOG_NAMES = (
    "metrics.csv", "results.csv", "log.txt", "trainer_state.json", "explanation.json", "scalars.json", "metrics.json",
)  # fmt: skip
_LOG_STARTS = ("training_log_", "stdout", "stderr", "log_", "log-")


def files_of(folder: Path) -> list[Path]:
    """The files of a folder that tell how a run went, the newest last; of a huge folder some.

    Raises:
        UsageError: There is none, or the folder cannot be read.
    """
    found: list[tuple[float, Path]] = []
    seen = 0
    for place, folders, names in os.walk(folder, onerror=_refuse):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _DEPTH else []
        for name in sorted(names):
            path = Path(place, name)
            if _tells(path) and path.is_file():
                found.append((path.stat().st_mtime, path))
        seen += len(names)
        if seen > _LOOKED_AT:
            break
    if not found:
        raise UsageError(f"{folder} holds no log", hint="give the path of a log file, or - for stdin")
    return [path for _, path in sorted(found)[-_READ:]]


def opened(path: Path) -> BinaryIO:
    """What the file tells, as a stream of text.

    Raises:
        UsageError: It cannot be read, or is of another kind.
    """
    try:
        if path.suffix == ".ipynb":
            return _text(outputs_of(_whole(path), str(path)))
        if is_event_file(path):
            return _events(path)
        if path.name in ("trainer_state.json", "explanation.json"):
            return _text("".join(f"{line}\n" for line in _document(path)))
        return _log(path)
    except OSError as error:
        raise _cannot_read(path, error) from error


def _log(path: Path) -> BinaryIO:
    stream = path.open("rb")
    try:
        text = text_stream(stream, str(path))
    except BaseException:
        stream.close()
        raise
    return cast("BinaryIO", _OwnRecords(text)) if path.name == "metrics.jsonl" else text


class _OwnRecords:
    """A run's `metrics.jsonl`, in which NaN is a string, as other programs write it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._rest = b""

    def read1(self, size: int = -1) -> bytes:
        """Some whole lines."""
        while True:
            part = self._stream.read1(size)  # type: ignore[attr-defined]
            data = self._rest + part
            end = data.rfind(b"\n") + 1 if part and len(data) < _LONGEST_LINE else len(data)
            self._rest = data[end:]
            if end or not part:
                return _NOT_FINITE.sub(_as_json, data[:end])

    read = read1

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _as_json(found: re.Match[bytes]) -> bytes:
    return b": NaN" if found[1] == b"nan" else b": Infinity"


def _tells(path: Path) -> bool:
    name = path.name.lower()
    return (
        is_event_file(path)
        or name.endswith(_LOG_ENDINGS)
        or name in _LOG_NAMES
        or (name.startswith(_LOG_STARTS) and name.endswith(".txt"))
        or name in ("stdout", "stderr")
    )


def _refuse(error: OSError) -> None:
    raise _cannot_read(Path(str(error.filename)), error) from error


def _cannot_read(path: Path, error: OSError) -> UsageError:
    reason = error.strerror or str(error)
    return UsageError(f"cannot read {path}: {reason}", hint="give the path of a log file, or - for stdin")


def _text(text: str) -> BinaryIO:
    return io.BytesIO(text.encode("utf-8", "replace"))


def _whole(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_DOCUMENT:
        raise UsageError(
            f"{path} is larger than {_LARGEST_DOCUMENT >> 20} MiB", hint="copy the output into a text file"
        )
    return path.read_bytes()


def _events(path: Path) -> BinaryIO:
    with path.open("rb") as stream:
        file = EventFile(stream)
        lines = file.lines()
    if file.damaged is not None and not lines:
        raise UsageError(f"{path} is damaged: not one record can be read", hint="give another event file or a log")
    if file.damaged is not None:
        lines.append(f"the event file is damaged after {file.damaged} records")
    return _text("".join(f"{line}\n" for line in lines))


def _document(path: Path) -> Iterator[str]:
    try:
        data = json.loads(_whole(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is torn or not JSON", hint="give a log: what the run printed") from error
    history = data.get("log_history") if isinstance(data, dict) else data
    for record in history if isinstance(history, list) else []:
        yield from _evidence(record) if path.name == "explanation.json" else [json.dumps(record)]


def _evidence(record: Any) -> list[str]:
    """The lines on which a failed run's own explanation rests."""
    evidence = record.get("evidence") if isinstance(record, dict) else None
    return [str(text) for text in evidence] if isinstance(evidence, list) else []
