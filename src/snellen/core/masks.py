"""How the values of a mask are to be understood: black and white, numbers of classes, or what a filter left of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from snellen.core.facts.data import FolderAudit, MaskRecord

__all__ = ["IGNORE", "class_number_masks", "ignored_values", "is_black_and_white", "is_smoothed", "values_of"]

IGNORE: Final = 255
"""What VOC, Cityscapes and most losses' settings use for pixels that do not count."""

_RAMPS = 0.05
"""Between 0.014, the largest of the 170 clean masks of twelve public sets, and 0.19, the smallest smoothed one."""

_LOSSY = frozenset({"JPEG", "MPO", "JPEG2000"})


def values_of(mask: MaskRecord) -> frozenset[int]:
    """The different values, the most frequent 256."""
    return frozenset(value for value, _ in mask.values)


def is_smoothed(mask: MaskRecord) -> bool:
    """Whether a smoothing filter or a lossy format has left values that nobody drew.

    Example:
        >>> is_smoothed(MaskRecord("a.png", "PNG", distinct=256, ramps=0.6))
        True
    """
    if mask.problem or mask.colour or mask.distinct <= 2:
        return False
    return mask.format in _LOSSY or mask.ramps >= _RAMPS


def is_black_and_white(mask: MaskRecord) -> bool:
    """Whether it holds nothing but 0 and 255."""
    return values_of(mask) <= {0, IGNORE} and mask.distinct <= 2


def class_number_masks(folder: FolderAudit) -> list[MaskRecord]:
    """Masks whose values can be judged as they are: decoded, not coloured, not smoothed, of images without boxes."""
    if any(sample.boxes for sample in folder.samples):
        # The classes of boxes are another list than those of the masks beside them.
        return []
    masks = (folder.masks.get(path) for sample in folder.samples for path in sample.masks)
    return [
        mask
        for mask in masks
        if mask is not None and not mask.problem and not mask.colour and mask.values and not is_smoothed(mask)
    ]


def ignored_values(settings: Mapping[str, Any]) -> frozenset[int]:
    """Values that no class has on purpose: 255, and every `ignore_index` of the settings.

    Example:
        >>> sorted(ignored_values({"loss": {"ignore_index": 11}}))
        [11, 255]
    """
    found = {IGNORE}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= ignored_values(value)
        elif name == "ignore_index" and isinstance(value, int):
            found.add(value)
    return frozenset(found)
