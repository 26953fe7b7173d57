"""The names that masks of classes go by, and the names of what looks like one and is none."""

from __future__ import annotations

import re

__all__ = ["names_mask", "names_no_classes"]

_MASK = re.compile(
    r"(?:^|[^a-z])(?:masks?|label_?(?:map|img|image|mask)s?|seg(?:m|mentation)?s?(?:_?(?:map|mask|img|label))?s?|lbls?|annot"
    r"(?:ation)?s?|semantics?|train_?ids?)(?![a-z])",
    re.IGNORECASE,
)
_SOFT = re.compile(
    r"pred|prob|logit|soft|alpha|matt[ei]|trimap|att[ne]|heat|salien|score|confid|out|low_?res|weight|dist|sdf|depth|density"
    r"|blur|feather|\bcam|blend|overlay|vis|canvas|show|draw|colou?r|rgb|noise|latent|inpaint|control|cond|valid_mask|ratio"
    r"|\*\s*255",
    re.IGNORECASE,
)


def names_mask(code: str) -> bool:
    """Whether a name or expression reads as a mask.

    Example:
        >>> names_mask("sample['gt_mask']"), names_mask("self.seg_maps[i]"), names_mask("image")
        (True, True, False)
    """
    return _MASK.search(code) is not None


def names_no_classes(code: str) -> bool:
    """Whether a name or expression reads as numbers between classes, or as a picture of a mask.

    Example:
        >>> names_no_classes("pred_mask"), names_no_classes("mask * 255"), names_no_classes("mask")
        (True, True, False)
    """
    return _SOFT.search(code) is not None
