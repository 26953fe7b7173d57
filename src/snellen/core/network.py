"""Whether an address on the network answers, asked with a short patience and without sending anything."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

__all__ = ["can_connect"]


def can_connect(address: str, *, seconds: float = 3.0) -> bool:
    """Whether somebody accepts a connection.

    Args:
        address: Such as `https://example.org` or `http://127.0.0.1:8080`.
        seconds: Patience.

    Example:
        >>> can_connect("http://127.0.0.1:9", seconds=0.5)
        False
    """
    parts = urlsplit(address)
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        with socket.create_connection((parts.hostname or "", port), timeout=seconds):
            return True
    except (OSError, ValueError):
        return False
