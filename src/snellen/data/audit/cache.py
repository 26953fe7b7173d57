"""What was measured of a file, kept by its content: a scan that was cut off goes on, one that is repeated is quick.

One SQLite file. A file is known by path, size and times; then its digest is known without reading it; by the digest
the record is found, wherever the file lies. Several processes may read and write at once, and a process that is killed
leaves it whole. The cache is never needed: where it cannot be opened, read or written, work goes on, and `notes` says
so.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

__all__ = ["AuditCache", "FileState", "state_of"]

_VERSION: Final = 1
"""Counts up when records change their meaning: then the file has another name, and the old one is left to rot."""
_WAIT: Final = 5.0
_EVERY: Final = 0.5
_LARGEST: Final = 1_000_000_000
_FRESH: Final = 2_000_000_000

_TABLES = """
CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INT, mtime INT, ctime INT, digest TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (key TEXT PRIMARY KEY, data TEXT, day INT) WITHOUT ROWID;
"""


class FileState(NamedTuple):
    """What tells that a file has not changed: its size, and when its content and its entry last did, in ns."""

    size: int
    mtime: int
    ctime: int


def state_of(path: str) -> FileState | None:
    """The state of a file, `None` when it is not there or is no regular file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked for every file of a folder, where a Path costs as much as the call
    except (OSError, ValueError):
        return None
    return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns) if stat.S_ISREG(found.st_mode) else None


class AuditCache:
    """The cache, open until its block ends.

    Attributes:
        place: The file, `None` when nothing is remembered.
        notes: What went wrong with it, one sentence each.

    Args:
        folder: Where it lies; made when missing. `None` remembers nothing.
        read_only: Look things up, never write.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with AuditCache(folder) as cache:
        ...     cache.put("image", "f00d", "{}")
        >>> with AuditCache(folder) as cache:
        ...     cache.get("image", "f00d"), cache.get("mask", "f00d"), cache.notes
        ('{}', None, [])
    """

    def __init__(self, folder: Path | None, *, read_only: bool = False) -> None:
        self.notes: list[str] = []
        self.place = folder / f"audit-{_VERSION}.sqlite" if folder is not None else None
        self._base: sqlite3.Connection | None = None
        self._files: dict[bytes, tuple[FileState, str]] = {}
        self._records: dict[str, str] = {}
        self._written = time.monotonic()
        self._writable = not read_only

    def __enter__(self) -> Self:
        if self.place is not None:
            self._base = self._open(self.place) if self._writable else _connect_read_only(self.place)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        if self._base is not None:
            with contextlib.suppress(sqlite3.Error):
                self._prune(self._base)
            self._base.close()
            self._base = None

    def digest_of(self, path: str, state: FileState) -> str | None:
        """The digest of a file that has not changed since it was last read, `None` when that is not known."""
        rows = self._ask("SELECT size, mtime, ctime, digest FROM files WHERE path = ?", (_key_of(path),))
        found = next(rows, None)
        return str(found[3]) if found is not None and found[:3] == tuple(state) else None

    def get(self, kind: str, digest: str) -> str | None:
        """The record of a kind, such as `image`, by the content of the file."""
        found = next(self._ask("SELECT data FROM records WHERE key = ?", (f"{kind}:{digest}",)), None)
        return str(found[0]) if found is not None else None

    def put(self, kind: str, digest: str, data: str, *, path: str = "", state: FileState | None = None) -> None:
        """Remember a record, and the file in which it was seen; written now and then, and at the end.

        Args:
            kind: What kind of record it is.
            digest: Of the file's content.
            data: The record.
            path: The file.
            state: Its state before it was read. A file that was written within the last two seconds is not remembered
                by it, because file systems with coarse clocks would not show a second change.
        """
        if self._base is None or not self._writable:
            return
        self._records[f"{kind}:{digest}"] = data
        self.know(path, state, digest)
        if time.monotonic() - self._written > _EVERY:
            self.flush()

    def know(self, path: str, state: FileState | None, digest: str) -> None:
        """Remember the digest of a file, whose record is known."""
        if state is not None and time.time_ns() - max(state.mtime, state.ctime) > _FRESH:
            self._files[_key_of(path)] = state, digest

    def flush(self) -> None:
        """Write what is remembered so far."""
        base, self._written = self._base, time.monotonic()
        if base is None or not self._writable or not (self._files or self._records):
            return
        day = int(time.time() // 86400)
        try:
            with base:
                base.executemany(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)",
                    [(path, *state, digest) for path, (state, digest) in self._files.items()],
                )
                base.executemany(
                    "INSERT OR REPLACE INTO records VALUES (?, ?, ?)",
                    [(key, data, day) for key, data in self._records.items()],
                )
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                return  # another process writes for long; the next flush tries again
            self._writable = False
            self.notes.append(f"what is measured is not remembered: {self.place}: {error}")
        except sqlite3.Error as error:
            self._writable = False
            self.notes.append(f"what is measured is not remembered: {self.place}: {error}")
        self._files.clear()
        self._records.clear()

    def _open(self, place: Path) -> sqlite3.Connection | None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                return _connect(place)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                # Torn by a power cut or overwritten: it holds nothing that cannot be measured again.
                place.unlink(missing_ok=True)
                return _connect(place)
        except (OSError, sqlite3.Error) as error:
            read_only = _connect_read_only(place)
            more = "; what was measured before is used" if read_only is not None else ""
            self._writable = False
            self.notes.append(f"what is measured is not remembered: {place}: {_words(error)}{more}")
            return read_only

    def _ask(self, query: str, values: tuple[object, ...]) -> Iterator[tuple[object, ...]]:
        if self._base is None:
            return iter(())
        try:
            return iter(self._base.execute(query, values).fetchall())
        except sqlite3.Error as error:
            self.notes.append(f"what was measured before cannot be read: {self.place}: {error}")
            self._base.close()
            self._base = None
            return iter(())

    def _prune(self, base: sqlite3.Connection) -> None:
        """Forget the older half once the file has grown to a gigabyte."""
        if not self._writable or self.place is None or self.place.stat().st_size < _LARGEST:
            return
        with base:
            middle = base.execute(
                "SELECT day FROM records ORDER BY day LIMIT 1 OFFSET (SELECT COUNT(*) / 2 FROM records)"
            ).fetchone()
            base.execute("DELETE FROM records WHERE day <= ?", middle or (0,))
            base.execute("DELETE FROM files")
        base.execute("VACUUM")


def _key_of(path: str) -> bytes:
    return os.fsencode(os.path.abspath(path))  # noqa: PTH100 - links are kept: they may come to point elsewhere


def _connect(place: Path) -> sqlite3.Connection:
    base = sqlite3.connect(place, timeout=_WAIT, check_same_thread=False)
    try:
        # A rollback journal, not a write-ahead log: that one needs shared memory, which network file systems lack.
        base.execute("PRAGMA journal_mode = TRUNCATE")
        base.execute("PRAGMA synchronous = NORMAL")
        base.executescript(_TABLES)
        base.execute("BEGIN IMMEDIATE").connection.rollback()  # a folder that may not be written says so here
    except BaseException:
        base.close()
        raise
    return base


def _connect_read_only(place: Path) -> sqlite3.Connection | None:
    with contextlib.suppress(OSError, sqlite3.Error, ValueError):
        if place.is_file():
            base = sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT)
            try:
                base.execute("SELECT 1 FROM records LIMIT 1").fetchall()
            except sqlite3.Error:
                base.close()
                raise
            return base
    return None


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
