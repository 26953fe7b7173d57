"""Files measured by several processes: a decoder that crashes or hangs on one costs that one file and no other."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, Literal

from snellen.core.environment import cpu_count

__all__ = ["Job", "Outcome", "work", "worker_count"]

_AHEAD: Final = 16
"""Files that a process is asked for before it has answered."""
_PATIENCE: Final = 30.0
"""Seconds after which a process that does not answer is given up; a photograph takes a tenth of one."""
_HANGING: Final = 4
"""Files in a row that were given up before no more are tried: a disk that hangs is not waited for file by file."""
_MOST: Final = 8
_LATE: Final = "was given up"
_EACH: Final = 100
"""Files that make it worth while to start one process more."""

_TOLD_BY_SUFFIX = {".tga", ".icb", ".vda", ".vst", ".npy"}

# The parent's path, so that the child finds this very package however it was imported.
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from snellen.data.audit.worker import serve; serve()"
)


@dataclass(frozen=True, slots=True)
class Job:
    """One file to look at.

    Args:
        kind: `image` measures the pixels, too, `header` does not; `mask` counts the values of a mask.
        path: The file.
        digest: Whether its content is hashed.
    """

    kind: Literal["image", "header", "mask"]
    path: str
    digest: bool = True

    @property
    def stored_as(self) -> str:
        """The kind of its record in the cache: of files that are told by their suffix, that too."""
        suffix = PurePath(self.path).suffix.lower()
        return self.kind + (suffix if suffix in _TOLD_BY_SUFFIX else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Args:
        job: The job.
        text: The record, as `snellen.data.audit.worker.text_of` writes it; `""` when there is none.
        problem: Why there is none.
    """

    job: Job
    text: str = ""
    problem: str = ""


def worker_count(jobs: int) -> int:
    """How many processes so many files are worth."""
    return max(1, min(cpu_count(), _MOST, -(-jobs // _EACH)))


def work(
    jobs: Sequence[Job], *, cache: Path | None = None, workers: int | None = None, patience: float = _PATIENCE
) -> Iterator[Outcome]:
    """Measure files in several processes; outcomes come as they are ready.

    Processes end with the iteration, also when it is given up half-way. After several files in a row that do not
    answer, as on a disk or a network that hangs, the rest is not tried.

    Args:
        jobs: What to measure.
        cache: The file of an `AuditCache`, in which processes look up what they have hashed.
        workers: Number of processes; without it, as many as pay.
        patience: Seconds that one file may take.
    """
    waiting = deque(jobs)
    ready: queue.Queue[Outcome | BaseException | None] = queue.Queue(maxsize=1000)
    hands = [_Hand(waiting, ready, cache, patience) for _ in range(workers or worker_count(len(jobs)))] if jobs else []
    try:
        for hand in hands:
            hand.start()
        left = len(hands)
        late = 0
        while left:
            try:
                found = ready.get(timeout=0.5)
            except queue.Empty:
                for hand in hands:
                    hand.hurry()
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                left -= 1
            else:
                late = late + 1 if found.problem.startswith(_LATE) else 0
                yield found
                if late >= _HANGING:
                    yield from _not_tried(hands, waiting, ready, patience)
                    break
    finally:
        _stop(hands, ready)


def _stop(hands: Sequence[_Hand], ready: queue.Queue[Outcome | BaseException | None]) -> Iterator[Outcome]:
    """End all processes; what was measured meanwhile."""
    found = []
    while any(hand.thread.is_alive() for hand in hands) or not ready.empty():
        for hand in hands:
            hand.stop()  # again and again: one may just have started a process
        with contextlib.suppress(queue.Empty):  # a thread may wait for room
            found.append(ready.get(timeout=0.02))
    return (one for one in found if isinstance(one, Outcome))


def _not_tried(
    hands: Sequence[_Hand], waiting: deque[Job], ready: queue.Queue[Outcome | BaseException | None], patience: float
) -> Iterator[Outcome]:
    rest = []
    with contextlib.suppress(IndexError):
        while True:
            rest.append(waiting.popleft())
    yield from _stop(hands, ready)
    rest += [job for hand in hands for job in hand.asked]
    why = (
        f"was not opened: {_HANGING} files before it took more than {patience:g} seconds each; a disk or network hangs"
    )
    yield from (Outcome(job, problem=why) for job in rest)


class _Hand:
    """A thread that keeps one process busy, and starts another when that one dies."""

    def __init__(
        self,
        waiting: deque[Job],
        ready: queue.Queue[Outcome | BaseException | None],
        cache: Path | None,
        patience: float,
    ) -> None:
        self._waiting, self._ready, self._cache, self._patience = waiting, ready, cache, patience
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: deque[Job] = deque()
        self._since: float | None = None
        self._late = self._stopped = False
        self.thread = threading.Thread(target=self._run, name="snellen-audit", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def hurry(self) -> None:
        """End the process when its file takes too long; called by the reader's thread."""
        since = self._since
        if since is not None and time.monotonic() - since > self._patience:
            self._late = True
            self._kill()

    @property
    def asked(self) -> Sequence[Job]:
        """Files that its process was asked for and has not answered."""
        return tuple(self._asked)

    def stop(self) -> None:
        self._stopped = True
        self._waiting.clear()
        self._kill()

    def _kill(self) -> None:
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()

    def _run(self) -> None:
        try:
            while not self._stopped and self._keep_busy():
                pass
            self._ready.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by the reader
            self._ready.put(error)
        finally:
            self._end()

    def _keep_busy(self) -> bool:
        """One step: ask for some files, take one answer; whether there is more to do."""
        while len(self._asked) < _AHEAD and not self._stopped:
            try:
                self._asked.append(self._waiting.popleft())
            except IndexError:
                break
            if self._process is not None:
                self._ask(self._asked[-1])
        if not self._asked:
            return False
        if self._process is None:
            self._begin()
        self._since = self._since or time.monotonic()
        line = self._answer()
        if line.endswith(b"\n"):
            self._since = time.monotonic() if len(self._asked) > 1 else None
            self._ready.put(Outcome(self._asked.popleft(), text=line.decode("ascii").rstrip("\n")))
        elif not self._stopped:
            self._ready.put(Outcome(self._asked.popleft(), problem=self._obituary()))
        return True

    def _begin(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._send(sys.path)
        self._send(os.fspath(self._cache) if self._cache is not None else "")
        for job in self._asked:
            self._ask(job)

    def _ask(self, job: Job) -> None:
        self._send({"kind": job.kind, "path": job.path, "digest": job.digest, "stored_as": job.stored_as})

    def _send(self, data: object) -> None:
        stream = self._process.stdin if self._process is not None else None
        if stream is not None:
            with contextlib.suppress(OSError):  # it is dead; the missing answer says so
                stream.write(json.dumps(data).encode("ascii") + b"\n")
                stream.flush()

    def _answer(self) -> bytes:
        stream = self._process.stdout if self._process is not None else None
        return stream.readline() if stream is not None else b""

    def _obituary(self) -> str:
        """Why the process ended; a new one is started for the next file."""
        late, self._late = self._late, False
        code = self._end()
        self._since = None
        if late:
            return f"{_LATE}: decoding it took more than {self._patience:g} seconds"
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"cannot be decoded: the decoder crashed on it ({signal.Signals(-code).name})"
        return f"cannot be decoded: the decoder ended on it with exit code {code}"

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            # It ends by itself when its input does; one that waits for a dead disk cannot be ended at all.
            return process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=2)
            return None
