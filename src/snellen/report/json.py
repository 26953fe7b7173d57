"""Results as one JSON object."""

from __future__ import annotations

import json
import re
from typing import Any

from snellen.core.files import plain

__all__ = ["render"]

_UNFIT = re.compile("[\x7f-\x9f\ud800-\udfff]")
"""What steers terminals, and the halves of characters that names of files have which are no UTF-8."""


def render(data: Any) -> str:
    """Strict JSON text of plain data, dataclasses, paths and enumerations; NaN becomes `"nan"`.

    Example:
        >>> print(render({"level": 1}))
        {
          "level": 1
        }
    """
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    return _UNFIT.sub(lambda one: f"\\u{ord(one[0]):04x}", text)
