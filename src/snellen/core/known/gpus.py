"""Names of NVIDIA GPUs and their compute capability: https://developer.nvidia.com/cuda-gpus."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["GPUS", "capability_of", "is_unified"]

GPUS: Final = (
    (r"RTX (?:PRO )?(?:50[5-9]0|[2-6]\d00 Blackwell)", 120),
    (r"\bGB10\b", 121),
    (r"\bB300\b|GB300", 103),
    (r"\bB200\b|GB200\b", 100),
    (r"\bH(?:100|200|20|800)\b|GH200", 90),
    (r"RTX 40[5-9]0|\bL40S?\b|\bL4\b|RTX \d{4} Ada", 89),
    (r"\bOrin\b", 87),
    (r"RTX 30[5-9]0|\bA(?:10|10G|40|16|2)\b|RTX A\d{4}", 86),
    (r"\bA100\b|\bA800\b|\bA30\b", 80),
    (r"RTX 20[6-8]0|GTX 16[5-6]0|Tesla T4|\bT4\b|TITAN RTX|Quadro RTX", 75),
    (r"\bV100\b|TITAN V\b|GV100", 70),
    (r"GTX 10[5-8]0|TITAN Xp?\b|\bP40\b|\bP4\b|Quadro P\d{4}", 61),
    (r"\bP100\b", 60),
    (r"GTX 9[5-8]0|\bM60\b|\bM40\b", 52),
    (r"GTX 750", 50),
    (r"\bK80\b", 37),
)
"""Pattern of the name, and the capability without its point."""

_UNIFIED = re.compile(r"\bGB10\b|\bOrin\b|\bXavier\b|\bThor\b|\bTegra\b")


def capability_of(name: str) -> tuple[int, int] | None:
    """The compute capability of a GPU by its name.

    Example:
        >>> capability_of("Tesla P100-PCIE-16GB"), capability_of("NVIDIA GeForce RTX 5090"), capability_of("Radeon")
        ((6, 0), (12, 0), None)
    """
    found = next((capability for pattern, capability in GPUS if re.search(pattern, name)), None)
    return None if found is None else (found // 10, found % 10)


def is_unified(name: str) -> bool:
    """Whether a GPU shares the memory of its host.

    Example:
        >>> is_unified("NVIDIA GB10"), is_unified("NVIDIA H100 80GB HBM3")
        (True, False)
    """
    return _UNIFIED.search(name) is not None
