"""Run a command where there are terminals: it gets one of its own for output, and keeps ours for input.

A program that finds a terminal draws colours and progress bars. So where our output is a terminal, the command's is a
pseudo terminal of the same size that changes nothing on the way. Its input, its process group and its controlling
terminal stay ours: keys, Ctrl-C and Ctrl-Z reach it without our doing.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.watch.output import Tee
from snellen.watch.signals import forwarding
from snellen.watch.starting import not_started

if sys.platform != "win32":
    import fcntl
    import termios

__all__ = ["run"]

_PIECE = 1 << 16
_PATIENCE = 2.0
"""Seconds of silence after which a stream is given up that a process left behind keeps open."""
_POLL = 0.1


@dataclass(slots=True)
class _Channel:
    """A way out of the command: what is read here is written there."""

    inner: int
    outer: int
    target: int
    terminal: bool


def run(command: list[str], tee: Tee) -> int:
    """Run a command to its end.

    Args:
        command: The program and its arguments.
        tee: Takes what it prints.

    Returns:
        Its exit code; negative for the signal that ended it.

    Raises:
        UsageError: It cannot be started.
    """
    channels = _channels()
    terminals = [channel.inner for channel in channels.values() if channel.terminal]
    with forwarding(lambda: _copy_size(terminals)) as forward:
        try:
            process = _start(command, channels)
        finally:
            for outer in {channel.outer for channel in channels.values()}:
                os.close(outer)
        forward.to(process)
        tee.begin()
        return _pump(process, list({channel.inner: channel for channel in channels.values()}.values()), tee)


def _channels() -> dict[int, _Channel]:
    """One for stdout and one for stderr; one for both where they are the same terminal."""
    made: dict[int, _Channel] = {}
    for target in (1, 2):
        if not _is_terminal(target):
            inner, outer = os.pipe()
            made[target] = _Channel(inner, outer, target, terminal=False)
        elif 1 in made and made[1].terminal and os.fstat(1).st_rdev == os.fstat(2).st_rdev:
            made[target] = made[1]
        else:
            inner, outer = os.openpty()
            made[target] = _Channel(inner, outer, target, terminal=True)
            _as_ours(outer, target)
    return made


def _is_terminal(target: int) -> bool:
    try:
        return os.isatty(target)
    except OSError:
        return False


def _as_ours(outer: int, target: int) -> None:
    """Make a pseudo terminal like the one that it stands for, but let every byte pass as it is."""
    with contextlib.suppress(termios.error, OSError):
        mode = termios.tcgetattr(target)
        mode[1] &= ~termios.OPOST
        termios.tcsetattr(outer, termios.TCSANOW, mode)
    _copy_size([outer], target)


def _copy_size(terminals: list[int], source: int | None = None) -> None:
    for ours in (source,) if source is not None else (1, 2):
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(ours, termios.TIOCGWINSZ, b"\0" * 8)
            for terminal in terminals:
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
            return


def _start(command: list[str], channels: dict[int, _Channel]) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, channel.outer, target) for target, channel in channels.items()]
    # Python ignores these two, and what is ignored stays so in a new program.
    ignored = [number for name in ("SIGPIPE", "SIGXFSZ") if (number := getattr(signal, name, None)) is not None]
    try:
        return os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setsigmask=[], setsigdef=ignored)
    except OSError as error:
        for channel in channels.values():
            with contextlib.suppress(OSError):
                os.close(channel.inner)
        raise not_started(command[0], error) from error


def _pump(process: int, channels: list[_Channel], tee: Tee) -> int:
    """Pass on what comes until the command has ended and nothing comes any more."""
    code: int | None = None
    with selectors.DefaultSelector() as selector, _ended(process) as descriptor:
        for channel in channels:
            selector.register(channel.inner, selectors.EVENT_READ, channel)
        if descriptor is not None:
            selector.register(descriptor, selectors.EVENT_READ, None)
        while code is None or selector.get_map():
            ready = selector.select(_PATIENCE if code is not None else _POLL if descriptor is None else None)
            if code is not None and not ready:
                break
            for key, _ in ready:
                if key.data is not None and not _pass_on(key.data, tee):
                    selector.unregister(key.data.inner)
                    os.close(key.data.inner)
            if code is None and (code := _status(process)) is not None and descriptor is not None:
                selector.unregister(descriptor)
        for key in list(selector.get_map().values()):
            os.close(key.fd)
    return code


def _pass_on(channel: _Channel, tee: Tee) -> bool:
    """One piece; `False` at the end, or when nobody reads any more."""
    try:
        data = os.read(channel.inner, _PIECE)
    except InterruptedError:
        return True
    except OSError:
        # A pseudo terminal whose other side was closed ends with an error.
        return False
    return bool(data) and tee.take(channel.target, data)


def _status(process: int) -> int | None:
    ended, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


@contextlib.contextmanager
def _ended(process: int) -> Iterator[int | None]:
    """A descriptor that can be read when the process has ended, where the system has such."""
    opened = None
    with contextlib.suppress(AttributeError, OSError):
        opened = os.pidfd_open(process)
    try:
        yield opened
    finally:
        if opened is not None:
            os.close(opened)
