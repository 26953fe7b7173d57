"""One process per folder: a lock file that says who holds it and notices that its holder is dead."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from snellen.core.files import writing
from snellen.errors import RunFolderError

__all__ = ["FolderLock", "Holder"]


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock.

    Args:
        pid: Process id.
        host: Name of its machine.
        started: When the process began, as an opaque number of the operating system; tells a process from a later
            one that got the same id. `None` where it cannot be had.
        locked: When the lock was taken, ISO 8601 in UTC.
    """

    pid: int
    host: str
    started: float | None
    locked: str

    @classmethod
    def this_process(cls) -> Holder:
        """This very process, now."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(os.getpid(), platform.node(), _process_start(os.getpid()), now)

    @property
    def certainly_dead(self) -> bool:
        """Whether the process has ended; a process of another machine is never certainly dead."""
        if self.host != platform.node():
            return False
        if not _process_exists(self.pid):
            return True
        started = _process_start(self.pid)
        return started is not None and self.started is not None and started != self.started


class FolderLock:
    """A lock on a folder, held until `release` or the end of the process.

    The holder is written into a file. POSIX or Windows file locks only guard the moment in which that file is read
    and written, because they are not dependable for hours on network file systems and outlive a killed process in
    its forked children.

    Args:
        path: The lock file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held = False

    def acquire(self, *, force: bool = False) -> Holder | None:
        """Take the lock.

        Args:
            force: Take it from a holder of another machine, or from one that lives.

        Returns:
            The former holder whose lock was taken over, `None` when the lock was free.

        Raises:
            RunFolderError: Another process holds it, or the file cannot be written.
        """
        with self._exclusive() as handle:
            former = _parse(os.read(handle, 4096))
            if former is not None and not force and not former.certainly_dead:
                raise RunFolderError(self._refusal(former), hint=self._advice(former))
            os.lseek(handle, 0, os.SEEK_SET)
            os.truncate(handle, 0)
            os.write(handle, json.dumps(asdict(Holder.this_process())).encode())
            os.fsync(handle)
        self._held = True
        return former

    def release(self) -> None:
        """Give the lock back; safe to call twice and in a forked child, which never held it."""
        if not self._held:
            return
        self._held = False
        # A folder that was deleted or went read-only meanwhile must not turn a finished run into a failed one.
        with contextlib.suppress(RunFolderError), self._exclusive() as handle:
            holder = _parse(os.read(handle, 4096))
            if holder is not None and holder.pid == os.getpid():
                os.truncate(handle, 0)

    def holder(self) -> Holder | None:
        """Who holds it now, dead or alive; `None` when nobody does."""
        try:
            return _parse(self.path.read_bytes()[:4096])
        except OSError:
            return None

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[int]:
        with writing(self.path):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _lock_file(handle)
                yield handle
            finally:
                os.close(handle)

    def _refusal(self, holder: Holder) -> str:
        return (
            f"{self.path.parent} is in use by process {holder.pid} on {holder.host or 'an unknown machine'}, "
            f"which locked it at {holder.locked}"
        )

    def _advice(self, holder: Holder) -> str:
        if holder.host == platform.node():
            return "wait for that process to end, or give this run another name"
        return f"if that process has ended, delete {self.path} and try again"


def _parse(raw: bytes) -> Holder | None:
    if not raw.strip():
        return None
    try:
        data = json.loads(raw)
        started = data["started"]
        return Holder(int(data["pid"]), str(data["host"]), None if started is None else float(started), data["locked"])
    except (ValueError, KeyError, TypeError):
        # Torn while it was written: its writer died in the few microseconds that takes.
        return None


def _lock_file(handle: int) -> None:
    """Wait up to a second for the moment's lock on an open file; released when the file is closed."""
    for _ in range(100):
        try:
            if os.name == "nt":
                msvcrt = importlib.import_module("msvcrt")
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            else:
                fcntl = importlib.import_module("fcntl")
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            time.sleep(0.01)
        except OSError:
            # A file system without locks: what remains unguarded is two processes that start in the same instant.
            return
        else:
            return


def _process_exists(pid: int) -> bool:
    if os.name == "nt":  # os.kill would end the process there
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return not _is_zombie(pid)


def _stat_fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _is_zombie(pid: int) -> bool:
    return _stat_fields(pid)[:1] == ["Z"]


def _process_start(pid: int) -> float | None:
    """Start of a process in clock ticks since boot, from `/proc`; `None` elsewhere."""
    fields = _stat_fields(pid)
    return float(fields[19]) if len(fields) > 19 else None
