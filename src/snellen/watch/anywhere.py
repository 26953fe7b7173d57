"""Run a command where there are no pseudo terminals (Windows): its output comes through pipes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import IO

from snellen.watch.output import Tee
from snellen.watch.starting import not_started

__all__ = ["run"]

_PIECE = 1 << 16
_PATIENCE = 2.0
"""Seconds to wait for output that a process left behind keeps open."""


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
    # A program that finds a pipe keeps its output back until there is much of it.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with _deaf():
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        except OSError as error:
            raise not_started(command[0], error) from error
        tee.begin()
        lock = threading.Lock()
        threads = [
            threading.Thread(target=_pass_on, args=(stream, target, tee, lock), daemon=True)
            for target, stream in ((1, process.stdout), (2, process.stderr))
        ]
        for thread in threads:
            thread.start()
        code = process.wait()
        for thread in threads:
            thread.join(_PATIENCE)
        return code


def _pass_on(stream: IO[bytes] | None, target: int, tee: Tee, lock: threading.Lock) -> None:
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError), stream:
        while data := os.read(stream.fileno(), _PIECE):
            with lock:
                if not tee.take(target, data):
                    return


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C reaches every program of a console; we wait for what the command makes of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
