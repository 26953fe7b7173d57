"""Names of the variants of SAM and SAM 2: in names of files, in types of models, in widths of weights."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["FILE_BYTES", "WIDTHS", "file_variant", "model_variant", "same_variant"]

WIDTHS: Final = {768: "vit_b", 1024: "vit_l", 1280: "vit_h", 112: "hiera_b+", 144: "hiera_l"}
"""Width of the image encoder's first stage to the variant; 96 belongs to two of SAM 2."""
FILE_BYTES: Final = {
    "vit_b": 375_042_383,
    "vit_l": 1_249_524_607,
    "vit_h": 2_564_550_879,
    "vit_t": 40_728_226,
}
"""Sizes of the published checkpoints."""

_FILE = re.compile(
    r"sam_(?P<hq>hq_)?(?P<vit>vit_(?:b|l|h|t|tiny))(?![a-z])|(?P<mobile>mobile_?sam)(?:\.|_|$)", re.IGNORECASE
)
_HIERA = re.compile(
    r"sam2(?P<one>[._]1)?_(?:hiera_)?(?:(?P<t>t(?:iny)?)|(?P<s>s(?:mall)?)|(?P<b>b(?:ase_plus|\+|ase\+)?)|(?P<l>l(?:arge)?))"
    r"(?=\.(?:pt|pth|yaml|safetensors)\b)",
    re.IGNORECASE,
)
_MODEL = re.compile(r"^(?:sam_)?(?P<hq>hq_)?(?P<vit>vit_(?:b|l|h|t|tiny)|default)$", re.IGNORECASE)


def file_variant(name: str) -> str | None:
    """The variant that the name of a published checkpoint or configuration states.

    Example:
        >>> file_variant("weights/sam_vit_h_4b8939.pth"), file_variant("sam2.1_hiera_large.pt"), file_variant("sam.pth")
        ('vit_h', 'sam2.1 hiera_l', None)
    """
    found = _FILE.search(name)
    if found is not None:
        variant = "vit_t" if found["mobile"] else found["vit"].lower().replace("tiny", "t")
        return f"hq {variant}" if found["hq"] else variant
    hiera = _HIERA.search(name)
    if hiera is None:
        return None
    size = next(letter for letter in "tsbl" if hiera[letter])
    return f"{'sam2.1' if hiera['one'] else 'sam2'} hiera_{'b+' if size == 'b' else size}"


def model_variant(name: str) -> str | None:
    """The variant that a key of `sam_model_registry` or a `--model-type` states.

    Example:
        >>> model_variant("vit_b"), model_variant("default"), model_variant("resnet50")
        ('vit_b', 'vit_h', None)
    """
    found = _MODEL.match(name)
    if found is None:
        return None
    variant = found["vit"].lower().replace("tiny", "t")
    return "vit_h" if variant == "default" else variant


def same_variant(first: str, second: str) -> bool:
    """Whether two variants name the same encoder; HQ-SAM keeps that of SAM."""
    return first.removeprefix("hq ") == second.removeprefix("hq ")
