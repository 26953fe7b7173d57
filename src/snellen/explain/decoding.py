"""Turn what is given into a stream of UTF-8: other encodings, compression; what is no text at all is refused."""

from __future__ import annotations

import codecs
import gzip
import zlib
from typing import BinaryIO, Self, cast

from snellen.errors import UsageError

__all__ = ["text_stream"]

_LOOKED_AT = 1 << 16
_LARGEST_HOLE = 1 << 30
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_GZIP = b"\x1f\x8b\x08"
_KINDS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive or a checkpoint of torch"),
    (b"\x80\x02", "a pickle or an old checkpoint of torch"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90", "a program"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"SQLite format 3", "a database"),
    (b"\x89HDF", "an HDF5 file"),
)
_TEXT_CONTROLS = b"\t\n\r\x1b\x08\x0c"
_CONTROLS = bytes(code for code in range(32) if code not in _TEXT_CONTROLS)


def text_stream(stream: BinaryIO, name: str) -> BinaryIO:
    r"""The stream as UTF-8, or as the bytes of some other superset of ASCII.

    Args:
        stream: Any bytes.
        name: What to call it in the error.

    Raises:
        UsageError: It is not text.

    Example:
        >>> import io
        >>> text_stream(io.BytesIO("für".encode("utf-16")), "a.log").read()
        b'f\xc3\xbcr'
    """
    head = _head(stream)
    # A log that was cut while it was written to begins with a hole of zeros.
    for _ in range(_LARGEST_HOLE // _LOOKED_AT):
        if not head or head.strip(b"\0"):
            break
        head = _head(stream)
    head = head.lstrip(b"\0") if head[:2] == b"\0\0" and head.strip(b"\0") else head
    if head.startswith(_GZIP):
        return text_stream(cast("BinaryIO", _Gzip(_Joined(head, stream))), name)
    encoding = _encoding(head)
    if encoding is None:
        kind = next((kind for start, kind in _KINDS if head.startswith(start)), None)
        if kind or len(head.translate(None, _CONTROLS)) < 0.9 * len(head):
            what = f": it begins like {kind}" if kind else ""
            raise UsageError(f"{name} is not text{what}", hint="give a log: what the run printed")
        return cast("BinaryIO", _Joined(head, stream))
    return cast("BinaryIO", _Recoded(_Joined(head, stream), encoding))


def _head(stream: BinaryIO) -> bytes:
    read = getattr(stream, "read1", stream.read)
    return cast("bytes", read(_LOOKED_AT))


def _encoding(head: bytes) -> str | None:
    """The encoding, when it is not one that keeps ASCII as it is."""
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return encoding
    even, odd = head[: len(head) & ~1 : 2], head[1::2]
    if len(head) >= 4:
        if odd.count(0) > 0.8 * len(odd) and even.count(0) < 0.1 * len(even):
            return "utf-16-le"
        if even.count(0) > 0.8 * len(even) and odd.count(0) < 0.1 * len(odd):
            return "utf-16-be"
    return None


class _Joined:
    """What was looked at, then the rest. Closed only on demand: the stream below may be somebody else's."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._rest = head
        self._below = stream
        self._read = getattr(stream, "read1", stream.read)

    def read1(self, size: int = -1) -> bytes:
        """Some of what is there."""
        if self._rest:
            part, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
            return part
        return cast("bytes", self._read(size))

    def read(self, size: int = -1) -> bytes:
        """As many bytes, or all; fewer only where no more are there at once."""
        return self.read1(size) if size >= 0 else b"".join(iter(lambda: self.read1(_LOOKED_AT), b""))

    def close(self) -> None:
        """Close what is below."""
        self._below.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Recoded(_Joined):
    """UTF-8 of another encoding; what is no character becomes a replacement."""

    def __init__(self, stream: _Joined, encoding: str) -> None:
        super().__init__(b"", cast("BinaryIO", stream))
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")

    def read1(self, size: int = -1) -> bytes:
        while True:
            part = super().read1(size)
            text = self._decoder.decode(part, final=not part)
            if text or not part:
                return text.encode("utf-8", "replace")


class _Gzip(_Joined):
    """What was compressed; where the rest is damaged or missing, what came before."""

    def __init__(self, stream: _Joined) -> None:
        super().__init__(b"", cast("BinaryIO", gzip.GzipFile(fileobj=cast("BinaryIO", stream))))
        self._compressed = stream
        self._ended = False

    def close(self) -> None:
        """Close both."""
        super().close()
        self._compressed.close()

    def read1(self, size: int = -1) -> bytes:
        if self._ended:
            return b""
        try:
            return super().read1(size)
        except (OSError, EOFError, zlib.error):
            self._ended = True
            return b""
