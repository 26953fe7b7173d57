"""Read what a log says of its environment: versions, driver, graphics card."""

from __future__ import annotations

import re
from collections.abc import Sequence

from snellen.core.log import LogLine

__all__ = ["find_environment"]

_PACKAGES = (
    "torch|pytorch|torchvision|torchaudio|numpy|timm|cuda|cudnn|python|pillow|opencv|lightning|pytorch[-_]lightning"
    "|transformers|accelerate|ultralytics|mmcv|mmdet|mmengine|mmseg|detectron2|triton|xformers|cuda_driver"
)
_VERSION = re.compile(
    rf"(?<![\w/.-])(?P<name>{_PACKAGES})(?:[-_ ]?version)?[\"']?\s{{0,9}}[-:= ]{{0,9}}[\"']?v?"
    r"(?P<version>\d+\.\d+(?:\.\d+)?(?:\+\w+)?)(?![\w/])",
    re.IGNORECASE,
)
_PATH = re.compile(r"[/\\](?:lib[/\\])?python(?P<version>[23]\.\d{1,2})[/\\](?:site|dist)-packages")
_DRIVER = re.compile(r"(?:NVIDIA )?driver version\s{0,9}:?\s{0,9}(?P<version>\d{3}\.\d+(?:\.\d+)?)", re.IGNORECASE)
_CUDA_BUILT = re.compile(
    r"CUDA (?:used to build PyTorch|runtime version|Version):\s{0,9}(?P<version>\d+\.\d+)", re.IGNORECASE
)
_CARD = re.compile(
    r"\b(?P<name>(?:NVIDIA |Tesla |GeForce |Quadro )[\w ]{0,24}?(?:[A-Z]{1,3}\d{2,4}\w{0,3}|RTX \w{4,6}|TITAN \w{1,3})"
    r"(?: Ti| SUPER)?)\b"
)
_NAMES = {"pytorch": "torch", "pytorch-lightning": "lightning", "pytorch_lightning": "lightning"}


def find_environment(lines: Sequence[LogLine]) -> dict[str, str]:
    """Name to version, each as it is said first; `driver` and `gpu` where they are said.

    Example:
        >>> find_environment([LogLine(1, "PyTorch version: 2.6.0+cu124")])
        {'torch': '2.6.0+cu124'}
    """
    found: dict[str, str] = {}
    for line in lines:
        text = line.text
        for version in _VERSION.finditer(text):
            name = version["name"].lower()
            found.setdefault(_NAMES.get(name, name), version["version"])
        for key, pattern in (("driver", _DRIVER), ("cuda", _CUDA_BUILT), ("gpu", _CARD), ("python", _PATH)):
            if key not in found and (match := pattern.search(text)):
                found[key] = match.group(1)
    return found
