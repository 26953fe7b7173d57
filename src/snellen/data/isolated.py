"""Pictures decoded in a process of their own, for formats whose decoder has been seen to crash: TIFF.

A file that crashes or hangs the decoder costs that file; the next one gets a new process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from types import TracebackType
from typing import IO, Any, Final, Self

from PIL import Image

from snellen.data.pictures import MAX_PIXELS, Picture, content_digest, read_picture
from snellen.errors import DataError, SnellenError

__all__ = ["IsolatedReader", "is_fragile", "serve"]

_PATIENCE: Final = 60.0
"""Seconds that one picture may take."""
_HEAD: Final = struct.Struct("<II")
_SIGNATURES: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
# The parent's path, so that the child finds this very package however it was imported.
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from snellen.data.isolated import serve; serve()"
)


def is_fragile(content: bytes) -> bool:
    r"""Whether a file is of a format that is decoded apart.

    Example:
        >>> is_fragile(b"II*\x00....")
        True
    """
    return content[:4] in _SIGNATURES


class IsolatedReader:
    """Reads pictures as `read_picture` does, each in one of a few processes; threads may ask at once.

    Args:
        processes: How many there may be; they are started when they are needed.
        patience: Seconds that one picture may take.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("L", (4, 3), 7).save(file, "TIFF")
        >>> with IsolatedReader(1) as reader:
        ...     reader.read("a.tif", file.getvalue()).image.size
        (4, 3)
    """

    def __init__(self, processes: int = 2, *, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        self._all: set[subprocess.Popen[bytes]] = set()
        self._count = max(1, processes)
        for _ in range(self._count):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in list(self._all):
            _end(process)
        self._all.clear()

    def read(self, name: str, content: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
        """Read one picture.

        Raises:
            DataError: As `read_picture`; or the decoder crashed on it or took too long.
        """
        process = self._idle.get()
        try:
            if process is None or process.poll() is not None:
                process = self._begin()
            answer, pixels = self._ask(process, name, content, max_pixels)
        except BaseException:
            if process is not None:
                _end(process)
                self._all.discard(process)
            process = None
            raise
        finally:
            self._idle.put(process)
        if "problem" in answer:
            raise DataError(answer["problem"], hint=answer["hint"], slug=answer["slug"])
        image = Image.open(io.BytesIO(pixels), formats=["PNG"])
        image.load()
        return Picture(image, content_digest(content), tuple(answer["notes"]))

    def read_fragile_apart(self, name: str, content: bytes) -> Picture:
        """Read one picture in this process, or in one of the others where its format is fragile.

        Raises:
            DataError: As `read`.
        """
        return self.read(name, content) if is_fragile(content) else read_picture(name, content=content)

    def _begin(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
        )
        self._all.add(process)
        with contextlib.suppress(OSError):  # it is dead; the missing answer says so
            _stream(process.stdin).write(json.dumps(sys.path).encode() + b"\n")
        return process

    def _ask(
        self, process: subprocess.Popen[bytes], name: str, content: bytes, max_pixels: int
    ) -> tuple[dict[str, Any], bytes]:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._patience, give_up)
        timer.start()
        try:
            with contextlib.suppress(OSError):
                _send(_stream(process.stdin), {"name": name, "max_pixels": max_pixels}, content)
            answer = _receive(_stream(process.stdout))
        finally:
            timer.cancel()
        if answer is None:
            raise DataError(f"{name} {_obituary(process, late.is_set(), self._patience)}", slug="corrupt-image")
        return answer


def serve() -> None:
    """Answer until the input ends: the process that `IsolatedReader` starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Answers have a way of their own: what a decoder prints must not come between them.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (asked := _receive(sys.stdin.buffer)) is not None:
        head, content = asked
        try:
            picture = read_picture(head["name"], content=content, max_pixels=head["max_pixels"])
            image = picture.image.convert("RGBA") if picture.image.mode == "PA" else picture.image
            file = io.BytesIO()
            # Stored, not compressed: it travels through a pipe.
            image.save(file, "PNG", compress_level=0)
            _send(answers, {"notes": picture.notes}, file.getvalue())
        except SnellenError as error:
            _send(answers, {"problem": error.message, "hint": error.hint, "slug": error.slug}, b"")
        except Exception as error:  # noqa: BLE001 - whatever a decoder raises is the file's fault
            problem = f"{head['name']} cannot be decoded: {type(error).__name__}: {error}"
            _send(answers, {"problem": problem, "hint": None, "slug": "corrupt-image"}, b"")


def _send(stream: IO[bytes], head: dict[str, Any], body: bytes) -> None:
    line = json.dumps(head).encode()
    stream.write(_HEAD.pack(len(line), len(body)))
    stream.write(line)
    stream.write(body)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    start = stream.read(_HEAD.size)
    if len(start) < _HEAD.size:
        return None
    head, body = _HEAD.unpack(start)
    line, content = stream.read(head), stream.read(body)
    return (json.loads(line), content) if len(content) == body and len(line) == head else None


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise BrokenPipeError
    return stream


def _obituary(process: subprocess.Popen[bytes], late: bool, patience: float) -> str:
    if late:
        return f"was given up: decoding it took more than {patience:g} seconds"
    try:
        code = process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return "cannot be decoded: the decoder gave no answer"
    with contextlib.suppress(ValueError):
        return f"cannot be decoded: the decoder crashed on it ({signal.Signals(-code).name})"
    return f"cannot be decoded: the decoder ended on it with exit code {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=2)
