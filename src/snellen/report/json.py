"""Results as one JSON object."""

from __future__ import annotations

import json
import re
from typing import Any

from snellen.core.files import plain

__all__ = ["render"]

_HALVES = re.compile("[\ud800-\udfff]")


def render(data: Any) -> str:
    """Strict JSON text of plain data, dataclasses, paths and enumerations; NaN becomes `"nan"`.

    Example:
        >>> print(render({"level": 1}))
        {
          "level": 1
        }
    """
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    # Names of files that are no UTF-8 come as halves of characters, which only the escaped form can hold.
    return _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
