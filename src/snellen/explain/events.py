"""Read the scalars of TensorBoard event files without TensorBoard.

A file is a row of records: length (8 bytes), a checksum of the length, the data, a checksum of the data; the data is a
protocol buffer `Event`. Of each only step and scalars are taken. A damaged record ends the reading: what came before is
whole.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["EventFile", "is_event_file"]

_LARGEST = 64 << 20
"""Bytes of a record that is still believed to be one."""
_PARSED = 1 << 20
"""Bytes of a record that is taken apart: pictures and histograms are larger, scalars are not."""
_MOST_STEPS = 20_000
"""Steps kept of one file; when there are twice as many, every other one goes."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT, _DOUBLE, _INT32, _INT64 = 1, 2, 3, 9
"""Types of tensors in TensorFlow's `DataType`."""


def is_event_file(path: Path) -> bool:
    """Whether the name is that of a TensorBoard event file."""
    return "tfevents" in path.name


class EventFile:
    """The scalars of one event file, step by step.

    Args:
        stream: The file.

    After `lines` has ended, `damaged` says how many records came before the damage, or is `None`.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.damaged: int | None = None

    def lines(self) -> list[str]:
        """One JSON record a step: `{"step": 100, "loss/train": 0.5}`."""
        steps: dict[int, dict[str, float]] = {}
        stride = 1
        for step, tag, value in self._scalars():
            if stride > 1 and step not in steps and step % stride:
                continue
            steps.setdefault(step, {})[tag] = value
            if len(steps) > 2 * _MOST_STEPS:
                stride *= 2
                steps = {step: values for step, values in steps.items() if step % stride == 0}
        return [json.dumps({"step": step, **values}) for step, values in sorted(steps.items())]

    def _scalars(self) -> Iterator[tuple[int, str, float]]:
        for data in self._records():
            try:
                yield from _event(data)
            except (ValueError, struct.error, IndexError):
                # The record is whole, but holds something else than expected.
                continue

    def _records(self) -> Iterator[bytes]:
        count = 0
        while head := self._stream.read(12):
            length, check = struct.unpack("<QI", head) if len(head) == 12 else (0, -1)
            if check != _masked_crc(head[:8]) or length > _LARGEST:
                self.damaged = count
                return
            data = self._stream.read(length)
            tail = self._stream.read(4)
            if len(data) < length or len(tail) < 4:
                # A run that was killed, or one that still writes, ends inside a record: that is no damage.
                return
            if length <= _PARSED:
                if struct.unpack("<I", tail)[0] != _masked_crc(data):
                    self.damaged = count
                    return
                yield data
            count += 1


def _event(data: bytes) -> Iterator[tuple[int, str, float]]:
    fields = list(_fields(data))
    step = next((value for number, value in fields if number == 2 and isinstance(value, int)), 0)
    step = step - (1 << 64) if step >= 1 << 63 else step
    for number, summary in fields:
        if number == 5 and isinstance(summary, bytes):
            for inner, value in _fields(summary):
                if inner == 1 and isinstance(value, bytes) and (scalar := _scalar(value)) is not None:
                    yield step, *scalar


def _scalar(data: bytes) -> tuple[str, float] | None:
    tag, found = "", None
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif number == 2 and isinstance(value, float):
            found = value
        elif number == 8 and isinstance(value, bytes):
            found = _tensor(value)
    return (tag, found) if tag and found is not None else None


def _tensor(data: bytes) -> float | None:
    """The number of a tensor that holds one."""
    kind, content, numbers = 0, b"", list[float]()
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 4 and isinstance(value, bytes):
            content = value
        elif number == 5:
            numbers += struct.unpack(f"<{len(value) // 4}f", value) if isinstance(value, bytes) else [float(value)]
        elif number == 6 and isinstance(value, bytes):
            numbers += struct.unpack(f"<{len(value) // 8}d", value)
    formats = {_FLOAT: "<f", _DOUBLE: "<d", _INT32: "<i", _INT64: "<q"}
    if content and kind in formats and len(content) == struct.calcsize(formats[kind]):
        return float(struct.unpack(formats[kind], content)[0])
    return numbers[0] if len(numbers) == 1 else None


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Number and value of each field of a protocol buffer; 32-bit values are taken as floats."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif wire == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field reaches beyond its record")
            yield number, data[at : at + length]
            at += length
        elif wire == _FIXED32:
            yield number, float(struct.unpack_from("<f", data, at)[0])
            at += 4
        elif wire == _FIXED64:
            yield number, float(struct.unpack_from("<d", data, at)[0])
            at += 8
        else:
            raise ValueError("no such kind of field")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number without end")


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC32C = _table()


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
