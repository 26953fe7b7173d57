"""Videos whose frames are unequally far apart in time: the table of durations in an MP4 of OpenCV, written anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

__all__ = ["write_uneven"]

_INTO_TABLE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")


def write_uneven(path: Path, frames: Sequence[np.ndarray], milliseconds: Sequence[int]) -> Path:
    """Write an MP4 in which each frame is shown so long.

    Args:
        path: The file.
        frames: RGB.
        milliseconds: One for each frame.
    """
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (width, height))
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    content = bytearray(path.read_bytes())
    boxes = list(_path_to(content, _INTO_TABLE))
    start, size = boxes[-1]
    scale = _scale(content, b"mdhd", boxes[2])
    shown = content.index(b"elst", boxes[1][0]) + 12
    content[shown : shown + 4] = _number(round(sum(milliseconds) * _scale(content, b"mvhd", boxes[0]) / 1000))
    entries = b"".join(_number(1) + _number(round(time * scale / 1000)) for time in milliseconds)
    table = _number(16 + len(entries)) + b"stts" + _number(0) + _number(len(frames)) + entries
    content[start : start + size] = table
    for outer, length in boxes[:-1]:
        content[outer : outer + 4] = _number(length + len(table) - size)
    path.write_bytes(content)
    return path


def _path_to(content: bytearray, names: Sequence[bytes]) -> list[tuple[int, int]]:
    """Start and size of each box on the way; the index lies behind the pictures, whose places stay as they are."""
    found, start, end = [], 0, len(content)
    for name in names:
        while content[start + 4 : start + 8] != name:
            start += int.from_bytes(content[start : start + 4], "big")
            assert start < end, name
        size = int.from_bytes(content[start : start + 4], "big")
        found.append((start, size))
        start, end = start + 8, start + size
    return found


def _scale(content: bytearray, name: bytes, inside: tuple[int, int]) -> int:
    """Ticks of a second, as a header states them."""
    place = content.index(name, inside[0]) + 16
    return int.from_bytes(content[place : place + 4], "big")


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")
