"""Files of memory without a name: where they come from, how other processes open them, and that none is left behind."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from snellen.core.lock import Holder
from snellen.errors import RunFolderError

__all__ = ["MemoryFile", "locked"]

_PREFIX: Final = "snellen-arena-"
_FCNTL: Any = importlib.import_module("fcntl") if os.name == "posix" else None


class MemoryFile:
    """An open file of memory; picklable, and opened anew where it is unpickled.

    On Linux it is a `memfd`: not in `/dev/shm` and not bounded by its size, charged to the control group of whoever
    fills it, and gone when the last process that has it open ends, killed or not. Elsewhere it is a file in a folder,
    removed when its owner closes it; one whose owner was killed is removed by the next owner.

    Args:
        size: Bytes; what is not written takes no memory.
        folder: For the file, where there is no `memfd`; the system's temporary folder without it.
        anonymous: Try a `memfd` first.

    Raises:
        RunFolderError: Neither can be had.
    """

    def __init__(self, size: int, *, folder: Path | None = None, anonymous: bool = True) -> None:
        if _FCNTL is None:
            raise RunFolderError("memory that processes share needs POSIX file locks, which this system lacks",
                                 hint="write data.cache: false")  # fmt: skip
        self.path: Path | None = None
        self.handle = -1
        try:
            made = _memfd() if anonymous else None
            if made is None:
                self.path = _named(folder or Path(tempfile.gettempdir()))
                made = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            self.handle = made
            os.ftruncate(made, size)
        except OSError as error:
            raise RunFolderError(f"there is no memory to share between processes: {error.strerror}") from error
        self._owner = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.where,)

    @property
    def where(self) -> str:
        """What another process opens it by."""
        return f"/proc/{os.getpid()}/fd/{self.handle}" if self.path is None else str(self.path)

    @classmethod
    def reopened(cls, where: str) -> MemoryFile:
        """The file of another process, while that process has it open.

        Raises:
            RunFolderError: It is gone.
        """
        found = cls.__new__(cls)
        try:
            found.handle = os.open(where, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise RunFolderError(f"the memory of the cache is gone: {where}: {error.strerror}") from error
        found.path, found._owner = (None if where.startswith("/proc/") else Path(where)), -1
        return found

    def write(self, content: memoryview, at: int) -> None:
        """Write bytes; refuses instead of killing the process when there is no memory left.

        Raises:
            OSError: There is none.
        """
        while content.nbytes:
            done = os.pwrite(self.handle, content, at)
            content, at = content[done:], at + done

    def close(self) -> None:
        """Give the memory back as far as this process holds it."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
        if self.path is not None and self._owner == os.getpid():
            self.path.unlink(missing_ok=True)

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.close()


def _reopened(where: str) -> MemoryFile:
    return MemoryFile.reopened(where)


def _memfd() -> int | None:
    """A memory file that other processes can open by way of this one; `None` where the system has none."""
    try:
        handle = os.memfd_create("snellen-cache", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        return None
    try:
        os.close(os.open(f"/proc/{os.getpid()}/fd/{handle}", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        # Without /proc, processes that are not forked could not share it.
        os.close(handle)
        return None
    return handle


def _named(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PREFIX}*"):
        if _abandoned(left.name):
            left.unlink(missing_ok=True)
    me = Holder.this_process()
    return folder / f"{_PREFIX}{me.pid}-{me.started or 0:.0f}-{secrets.token_hex(4)}"


def _abandoned(name: str) -> bool:
    pid, _, rest = name.removeprefix(_PREFIX).partition("-")
    started = rest.partition("-")[0]
    if not pid.isdigit() or not started.isdigit():
        return False
    return Holder(int(pid), platform.node(), float(started) or None, "").certainly_dead


@contextlib.contextmanager
def locked(handle: int, *, patience: float = 10.0) -> Iterator[None]:
    """Keep other processes out of a file for a moment; a process that is killed meanwhile lets them in.

    Raises:
        OSError: Nobody let go for that long.
    """
    end = time.monotonic() + patience
    wait = 0.0001
    while True:
        try:
            _FCNTL.lockf(handle, _FCNTL.LOCK_EX | _FCNTL.LOCK_NB, 1)
            break
        except (BlockingIOError, PermissionError):
            if time.monotonic() > end:
                raise
            time.sleep(wait)
            wait = min(0.01, wait * 2)
    try:
        yield
    finally:
        _FCNTL.lockf(handle, _FCNTL.LOCK_UN, 1)
