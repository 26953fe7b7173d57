"""Results as one JSON object."""

from __future__ import annotations

import json
from typing import Any

from snellen.core.files import plain

__all__ = ["render"]


def render(data: Any) -> str:
    """Strict JSON text of plain data, dataclasses, paths and enumerations; NaN becomes `"nan"`.

    Example:
        >>> print(render({"level": 1}))
        {
          "level": 1
        }
    """
    return json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
