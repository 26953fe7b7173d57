"""Ctrl-C and SIGTERM as a request that the loop answers between two steps."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest", "forward_to_children"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """While entered, the first SIGINT or SIGTERM only sets `requested`; a second Ctrl-C interrupts at once.

    Outside the main thread, where Python cannot take signals, it does nothing.

    Example:
        >>> with StopRequest() as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     stop.requested
        True
    """

    def __init__(self) -> None:
        self.requested = False
        self._interrupts = 0
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.requested = True
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            raise KeyboardInterrupt


@contextlib.contextmanager
def forward_to_children() -> Any:
    """Pass SIGINT and SIGTERM on to the processes that do the work, and wait for them to save and end."""

    def forward(_number: int, _frame: FrameType | None) -> None:
        for child in multiprocessing.active_children():
            if child.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, forward) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
