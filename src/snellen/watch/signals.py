"""Signals that were meant for the command reach it, once.

The terminal sends Ctrl-C to all processes in front of it, the command among them; `kill` sends to us alone. Linux says
which of the two it was. Elsewhere it is taken for the terminal's when we stand in front of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Forward", "forwarding"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTSTP", "SIGCONT", "SIGWINCH")
_BY_TERMINAL = ("SIGINT", "SIGQUIT", "SIGTSTP", "SIGHUP")
_FROM_KERNEL = 128
"""`si_code` of a signal that no process has sent."""
_POLL = 0.2


class Forward:
    """Passes signals on to a process once it is known.

    Args:
        resized: Called when the terminal has another size.
    """

    def __init__(self, resized: Callable[[], None]) -> None:
        self._resized = resized
        self._process: int | None = None
        self._early: list[int] = []

    def to(self, process: int) -> None:
        """The process is there; what came before is sent now."""
        self._process = process
        while self._early:
            self._send(self._early.pop(0))

    def take(self, number: int, *, by_terminal: bool) -> None:
        """A signal has come.

        Args:
            number: Which.
            by_terminal: Whether the command has got it as well.
        """
        if number == signal.SIGWINCH:
            self._resized()
            self._send(number)
        elif number == signal.SIGTSTP:
            if not by_terminal:
                self._send(number)
            os.kill(os.getpid(), signal.SIGSTOP)
            self._resized()
        elif not by_terminal or number == signal.SIGCONT:
            self._send(number)

    def _send(self, number: int) -> None:
        if self._process is None:
            self._early.append(number)
            return
        # It may have ended a moment ago.
        with contextlib.suppress(OSError):
            os.kill(self._process, number)


@contextlib.contextmanager
def forwarding(resized: Callable[[], None]) -> Iterator[Forward]:
    """Take all signals for a while.

    Args:
        resized: Called when the terminal has another size.
    """
    forward = Forward(resized)
    wanted = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # What was ignored from the start, as under nohup, stays so.
    taken = [number for number in wanted if signal.getsignal(number) != signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        yield forward
    elif sys.platform == "linux":
        with _waiting(forward, taken):
            yield forward
    else:
        with _handling(forward, taken):
            yield forward


@contextlib.contextmanager
def _waiting(forward: Forward, taken: list[int]) -> Iterator[None]:
    """A thread waits for signals, for only so it is told who sent them."""
    stop = threading.Event()

    def wait() -> None:
        while not stop.is_set():
            with contextlib.suppress(InterruptedError):
                told = signal.sigtimedwait(taken, _POLL)
                if told is not None:
                    by_terminal = told.si_code == _FROM_KERNEL and signal.Signals(told.si_signo).name in _BY_TERMINAL
                    forward.take(told.si_signo, by_terminal=by_terminal)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        # What came too late to be passed on must not hit us in its place.
        while signal.sigtimedwait(taken, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _handling(forward: Forward, taken: list[int]) -> Iterator[None]:
    def handle(number: int, _: FrameType | None) -> None:
        by_terminal = signal.Signals(number).name in _BY_TERMINAL and _in_front()
        forward.take(number, by_terminal=by_terminal)

    before = {number: signal.signal(number, handle) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_front() -> bool:
    """Whether our process group is the one that the terminal sends to."""
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123 - a device, not a file
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
