"""Numbers of bytes as people write and read them."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["amount", "parse_size"]

_UNITS: Final = {
    "": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?i?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of `4GiB`, `500 MB` or `1000000`.

    Raises:
        ValueError: It is no size.

    Example:
        >>> parse_size("4GiB"), parse_size("1.5 MB")
        (4294967296, 1500000)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no size, expected one such as 4GiB or 500MB")
    return int(float(found["number"]) * _UNITS[(found["unit"] or "").upper()])


def amount(size: float) -> str:
    """For people: a number of bytes.

    Example:
        >>> amount(1536 * 2**20), amount(2000)
        ('1.5 GiB', '2.0 KiB')
    """
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(size) < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
