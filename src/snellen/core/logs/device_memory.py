"""The numbers of an out-of-memory message."""

from __future__ import annotations

import re
from dataclasses import dataclass

from snellen.core.logs.memory import bytes_of

__all__ = ["DeviceMemory", "read_device_memory"]

_AMOUNT = r"(?P<{0}>[\d.,]{{1,14}} ?(?:[KMGTPE]i?B|bytes))"
_NUMBERS = {
    "tried": re.compile(rf"(?:Tried to allocate|Requested)\s{{0,12}}:? ?{_AMOUNT.format('v')}"),
    "capacity": re.compile(
        rf"{_AMOUNT.format('v')} total capacity|total capaci?ty of {_AMOUNT.format('w')}"
        rf"|max allowed: {_AMOUNT.format('x')}"
        rf"|Device limit\s{{0,12}}: {_AMOUNT.format('y')}"
    ),
    "free": re.compile(
        rf"{_AMOUNT.format('v')} free;|of which {_AMOUNT.format('w')} is free"
        rf"|Free \(according to CUDA\): {_AMOUNT.format('x')}"
    ),
    "allocated": re.compile(
        rf"{_AMOUNT.format('v')} already allocated|allocated memory {_AMOUNT.format('w')} is allocated by PyTorch"
        rf"|MPS allocated: {_AMOUNT.format('x')}|Currently allocated\s{{0,12}}: {_AMOUNT.format('y')}"
    ),
    "reserved": re.compile(rf"{_AMOUNT.format('v')} reserved in total"),
    "unallocated": re.compile(
        rf"{_AMOUNT.format('v')} is reserved by PyTorch but unallocated|{_AMOUNT.format('w')} cached"
    ),
    "process": re.compile(rf"this process has {_AMOUNT.format('v')} memory in use"),
    "elsewhere": re.compile(rf"other allocations: {_AMOUNT.format('v')}"),
}
_OTHERS = re.compile(rf"Process (?P<pid>\d{{1,8}}) has {_AMOUNT.format('v')} memory in use")


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What a message says of the memory of a device, in bytes; `None` where it does not.

    Args:
        tried: The allocation that failed.
        capacity: Of the device.
        free: Of the device.
        allocated: By PyTorch, in tensors.
        unallocated: By PyTorch, reserved and not in tensors.
        process: By the whole process.
        others: By other processes.
        pid: Number of the largest of these.
    """

    tried: int | None = None
    capacity: int | None = None
    free: int | None = None
    allocated: int | None = None
    unallocated: int | None = None
    process: int | None = None
    others: int | None = None
    pid: str | None = None

    @property
    def outside(self) -> int | None:
        """What is taken on the card beyond what this process's PyTorch has."""
        if self.others is not None:
            return self.others
        if self.capacity is None or self.free is None:
            return None
        own = self.process
        if own is None and self.allocated is not None:
            own = self.allocated + (self.unallocated or 0)
        return None if own is None else max(0, self.capacity - self.free - own)


def read_device_memory(text: str) -> DeviceMemory:
    """Read the numbers of an out-of-memory message, of any version of PyTorch.

    Example:
        >>> read_device_memory("Tried to allocate 2.00 GiB. GPU 0 has 79 GiB total capacity").tried
        2147483648
    """
    found: dict[str, int] = {}
    for name, pattern in _NUMBERS.items():
        match = pattern.search(text)
        value = next((part for part in match.groups() if part), None) if match else None
        size = bytes_of(value) if value else None
        if size is not None:
            found[name] = size
    reserved, own = found.pop("reserved", None), found.get("allocated")
    if reserved is not None and own is not None:
        found.setdefault("unallocated", max(0, reserved - own))
    others = [(bytes_of(match["v"]) or 0, match["pid"]) for match in _OTHERS.finditer(text)]
    mine = found.get("process")
    # Versions that do not say "this process" name it by its number like the others.
    others = [entry for entry in others if mine is not None or entry[0] < (own or 0)]
    if others:
        found["others"] = sum(size for size, _ in others)
    elsewhere = found.pop("elsewhere", None)
    if elsewhere is not None:
        found["others"] = elsewhere
    return DeviceMemory(**found, pid=max(others)[1] if others else None)
