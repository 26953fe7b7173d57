"""The values of a mask are not the class numbers that the loss is told of.

What happens
------------
Nothing fails, or not here. Class numbers that went through `ToTensor` are all 0, and the network learns that there is
nothing but background; a binary loss with a target of 255 falls below zero and goes on falling; a palette image read
as grey holds 38, 75 and 113 instead of 1, 2 and 3; a mask stored as JPEG has a rim of numbers that no class has.

Why
---
A mask is an image file, and images are for eyes: foreground is stored as 255, classes as colours of a palette.
`ToTensor` and a division by 255 are right for pictures and for masks of 0 and 255, and make 0.004 of class 1.
`convert("L")` and OpenCV give the brightness of a palette's colour, not its index. JPEG keeps no exact values.

How to confirm
--------------
`torch.unique(masks)` of one batch, as the loss gets it: for N classes 0 to N-1 and the `ignore_index`, for a binary
loss 0 and 1.

Fix
---
Binary masks: `(mask > 127)`. Class numbers: `torch.from_numpy(np.array(Image.open(path))).long()` or `PILToTensor`, no
scaling, no `convert`. Raw ids of a data set: a table, `table[mask]`, with 255 for what is to be ignored. Store masks as
PNG.

When it is something else
-------------------------
An error of the loss about such a value is `label-out-of-range`. New values only after resizing are
`mask-interpolated`. All background with masks that are right: see `single-class-prediction`.

Sources
-------
- `ToTensor` scales, `PILToTensor` does not:
  https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.PILToTensor.html
- Modes of PIL, `P` is a palette: https://pillow.readthedocs.io/en/stable/handbook/concepts.html#modes
- Cityscapes, ids and training ids:
  https://github.com/mcordts/cityscapesScripts/blob/master/cityscapesscripts/helpers/labels.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from snellen.core.audits import audited, file_evidence, listed, share, short
from snellen.core.classes_of import stated_classes
from snellen.core.code.classes import class_counts
from snellen.core.code.flow import Flow, Step, Trail
from snellen.core.code.masks import names_mask, names_no_classes
from snellen.core.code.trails import parts_of
from snellen.core.facts.data import FolderAudit, MaskRecord
from snellen.core.finding import Edit, Evidence, Finding, Fix, FixSafety, Level
from snellen.core.known.backbones import place
from snellen.core.masks import class_number_masks, ignored_values, is_black_and_white, values_of
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]

_READERS = frozenset({"cv2.imread", "PIL.Image.open", "imageio.imread", "imageio.v2.imread", "skimage.io.imread"})
_CLASS_SETS = frozenset(f"torchvision.datasets.{name}" for name in ("VOCSegmentation", "Cityscapes", "SBDataset"))
_BINARY_LOSSES = re.compile(
    r"BCE(?:WithLogits)?Loss|binary_cross_entropy|mode=['\"]binary|BINARY_MODE|SoftBCE|sigmoid_focal"
)
_REMAPPED = re.compile(
    r"(?:mask|target|label|gt|seg)\w*(?:\[[^\]\n]{0,80}\])?(?:\.\w+\(\)){0,3}\s*(?://?=?\s*255|[><]=?\s*[\d.]|==\s*\d|!=\s*\d)"
    r"|\.clamp\(|\blut\b|encode_(?:mask|target|seg)|one_hot|\*\s*255|np\.unique|colou?r_?map|palette_to|rgb_to|to_class|\bmapping\b",
    re.IGNORECASE,
)
_PALETTE = re.compile(r"SegmentationClass(?!Aug|Raw)|SegmentationObject|putpalette|VOC2012|VOC2007|VOCdevkit")
_TRAIN_IDS = re.compile(
    r"train_?ids?|ignore_index|encode_(?:target|segmap)|id_to|labelIds.{0,200}trainIds|\blut\b|mapping", re.IGNORECASE
)
_JPEG = re.compile(r"\.jpe?g\b", re.IGNORECASE)
_MASK_FOLDER = re.compile(r"\b(?:masks?|labels?|annotations?|seg\w*|gt|ground_?truth)(?:_\w+)?[/\\'\"]", re.IGNORECASE)
_KEEPING = frozenset(
    (
        *("cv2.resize", "numpy.array", "numpy.asarray", "numpy.ascontiguousarray", "numpy.expand_dims", "torch.tensor"),
        *("torch.from_numpy", "torch.as_tensor", "torch.squeeze", "torch.unsqueeze", "[]", "numpy.squeeze"),
        *("torchvision.transforms.functional.resize", "torchvision.transforms.functional.pil_to_tensor"),
        *("torchvision.transforms.Resize.forward", "torchvision.transforms.PILToTensor.forward", "numpy.float32"),
        *("cv2.flip", "numpy.flip", "numpy.fliplr", "numpy.flipud", "numpy.rot90", "torch.LongTensor", "numpy.int64"),
    )
)
_KEEPING_METHODS = frozenset(
    (
        *("convert", "resize", "copy", "astype", "float", "to", "permute", "transpose", "unsqueeze", "squeeze", "type"),
        *("contiguous", "view", "reshape", "long", "numpy", "crop", "int"),
    )
)
_WHOLE = re.compile(r"\blong\b|int64|LongTensor")


_SCHEME = 0.7
"""Share of masks of 0 and 255 from which that is the scheme of a set without classes."""
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class _Mask:
    """A mask on its way out of a data set: by what it was multiplied, and whether it is used as class numbers."""

    scale: float
    classes: bool
    scaled_by: Step | None


def _examine(file: SourceFile) -> Iterator[Hit]:
    yield from _class_sets(file)
    yield from _stored(file)
    yield from _samples(file)


# -- data sets of torchvision -----------------------------------------------------------------------------------------


def _class_sets(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        if call.name not in _CLASS_SETS:
            continue
        given = call.argument(99, "target_transform")
        made = given.origin.call if given is not None and given.origin is not None else None
        inner = tuple(file.calls_in(made.span)) if made is not None else ()
        scaling = next((one for one in inner if one.method == "ToTensor"), None)
        if scaling is not None and not re.search(r"\*\s*255", file.text):
            written = re.sub(r"\bToTensor\(", "PILToTensor(", scaling.code)
            plain = scaling.code.count(".") > 0
            edits = (file.edit(scaling.span, written),) if plain else ()
            fix = Fix(
                f"Write `{written}`, and `.long()` for the loss.", _safety(edits), "the targets change", edits=edits
            )
            message = f"`{scaling.code}` divides the class numbers of `{call.method}` by 255"
            yield Hit(message, scaling.span, fix, (Evidence(call.code[:100], place(file.path, call.span)),))
        elif call.method == "Cityscapes":
            yield from _cityscapes(file, call)


def _safety(edits: tuple[object, ...]) -> FixSafety:
    return FixSafety.UNSAFE if edits else FixSafety.MANUAL


def _cityscapes(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    """Masks of Cityscapes hold 34 raw ids, networks are made for 19 classes."""
    kind = call.argument(3, "target_type")
    parts = parts_of(file)
    nineteen = [count for part in parts for count in class_counts(part) if count.count in (19, 20)]
    if kind is None or kind.value != "semantic" or not nineteen or any(_TRAIN_IDS.search(part.text) for part in parts):
        return
    message = f"the masks of Cityscapes hold raw ids from 0 to 33, and the network has {nineteen[0].count} classes"
    fix = Fix("Map ids to training ids: `table[mask]` with 255 for the rest, and `CrossEntropyLoss(ignore_index=255)`.")
    yield Hit(message, call.span, fix, (nineteen[0].evidence,))


# -- masks that are stored --------------------------------------------------------------------------------------------


def _stored(file: SourceFile) -> Iterator[Hit]:
    """Masks written as JPEG, which changes their values."""
    for call in file.calls:
        if call.name == "cv2.imwrite":
            path, mask = call.argument(0, "filename"), call.argument(1, "img")
            code = mask.code if mask is not None else ""
        elif call.method == "save" and call.receiver is not None and "PIL" in file.text:
            path, code = call.argument(0, "fp"), call.receiver
        else:
            continue
        written = (
            path.value if path is not None and isinstance(path.value, str) else path.code if path is not None else ""
        )
        if path is None or not _JPEG.search(written) or not _MASK_FOLDER.search(written):
            continue
        if names_mask(code) and not names_no_classes(code) and not names_no_classes(written):
            edit = file.edit(path.span, _JPEG.sub(".png", path.code))
            edits = (edit,) if _JPEG.search(path.code) else ()
            fix = Fix("Store masks as PNG.", _safety(edits), "whoever reads the file has to look for .png", edits=edits)
            yield Hit("JPEG does not keep the values of a mask: its rims get numbers of no class", path.span, fix)


# -- masks that a data set of the project gives ------------------------------------------------------------------------


def _reads_mask(call: CallSite) -> bool:
    return call.name in _READERS


def _samples(file: SourceFile) -> Iterator[Hit]:
    parts = parts_of(file)
    counts = {count.count for part in parts for count in class_counts(part)} | _segmentation_classes(parts)
    losses = "\n".join(part.text for part in parts)
    flow, told = Flow(file), set[tuple[int, int]]()
    for item in file.assignments:
        if item.target != "return" or not item.function.endswith("__getitem__"):
            continue
        for trail in flow.trails(item, None, _reads_mask):
            start = trail.start.call
            if start is None or not _reads_mask(start) or trail.start.span.start in told or not _of_mask(trail, start):
                continue
            hit = _judged(file, trail, start, counts, losses)
            if hit is not None:
                told.add(trail.start.span.start)
                yield hit


def _segmentation_classes(parts: tuple[SourceFile, ...]) -> set[int]:
    found = set()
    for part in parts:
        for call in part.calls:
            classes = call.argument(99, "classes") if call.name.startswith("segmentation_models_pytorch.") else None
            if classes is not None and isinstance(classes.value, int):
                found.add(classes.value)
    return found


def _of_mask(trail: Trail, start: CallSite) -> bool:
    named = [*trail.names[-2:], *(argument.code for argument in start.arguments[:1])]
    return any(names_mask(name) for name in named) and not any(names_no_classes(name) for name in named)


def _judged(file: SourceFile, trail: Trail, start: CallSite, counts: set[int], text: str) -> Hit | None:
    mask = _followed(trail)
    read = Evidence(f"read here: {' '.join(start.code.split())[:100]}", place(trail.start.path, trail.start.span))
    grey = next((step for step in trail.steps if step.method == "convert"), None)
    palette = _PALETTE.search(text)
    if palette and mask is not None and mask.classes and (start.name == "cv2.imread" or _converts(grey)):
        return _from_palette(file, start, grey, read)
    if mask is None or (not counts and not _BINARY_LOSSES.search(text)):
        return None
    if abs(mask.scale * 255 - 1) < 0.01 and mask.classes and counts and min(counts) > 2 and mask.scaled_by is not None:
        step = mask.scaled_by
        message = f"class numbers are divided by 255: of {max(counts)} classes all become 0"
        fix = Fix("Leave the division out for masks: `torch.from_numpy(np.array(mask)).long()`.")
        return Hit(message, step.span if step.path == file.path else trail.start.span, fix, (read,))
    binary = bool(_BINARY_LOSSES.search(text)) and not re.search(r"CrossEntropyLoss|\bcross_entropy\(", text)
    two = counts == {2} and mask.classes
    if (
        mask.scale == 1.0
        and (two or (binary and counts <= {1, 2}))
        and _is_grey(start, grey)
        and not _REMAPPED.search(text)
    ):
        return _of_255(file, trail, start, read, "class numbers of 2 classes" if two else "the target of a binary loss")
    return None


def _converts(grey: Step | None) -> bool:
    mode = grey.call.argument(0, "mode") if grey is not None and grey.call is not None else None
    return mode is not None and mode.value in ("L", "RGB", "I")


def _is_grey(start: CallSite, grey: Step | None) -> bool:
    if start.name == "cv2.imread":
        flags = start.argument(1, "flags")
        return flags is not None and (flags.value == 0 or "GRAYSCALE" in flags.code)
    return _converts(grey)


def _followed(trail: Trail) -> _Mask | None:
    """What happened to the values, `None` when that is not known: a table, a threshold, a function."""
    scale, classes, scaled_by = 1.0, False, None
    for step in trail.steps:
        if step.plain:
            continue
        if step.name in ("/", "/=", "*", "*="):
            by = step.value
            if not isinstance(by, (int, float)) or not by:
                return None
            scale, scaled_by = (scale / by if "/" in step.name else scale * by), step
        elif step.name.endswith(("ToTensor.forward", "functional.to_tensor")):
            scale, scaled_by = scale / 255.0, step
        elif step.name not in _KEEPING and not (step.name.startswith(".") and step.method in _KEEPING_METHODS):
            return None
        classes = classes or bool(
            step.call is not None and _WHOLE.search(step.call.code.rpartition(")")[0][-40:] + ")")
        )
        classes = classes or step.method in ("long", "LongTensor")
    return _Mask(scale, classes, scaled_by)


def _from_palette(file: SourceFile, start: CallSite, grey: Step | None, read: Evidence) -> Hit:
    if grey is None:
        message = "`cv2.imread` gives the colours of a palette image, not the class numbers that the palette stands for"
        return Hit(
            message, start.span, Fix("Read masks with PIL: `np.array(Image.open(path))` gives the class numbers.")
        )
    message = f"`{grey.code.rpartition('.')[2]}` turns the class numbers of a palette image into its colours"
    tail = grey.code[grey.code.rindex(".convert") :]
    edits = (file.edit(grey.span, grey.code.removesuffix(tail)),) if grey.path == file.path else ()
    fix = Fix("Leave `convert` out.", _safety(edits), "the targets change", edits=edits)
    return Hit(message, grey.span if grey.path == file.path else start.span, fix, (read,))


def _of_255(file: SourceFile, trail: Trail, start: CallSite, read: Evidence, use: str) -> Hit:
    message = f"a mask from a file holds 0 and 255, and is used as {use} without being made 0 and 1"
    array = next((step for step in trail.steps if step.name in ("numpy.array", "numpy.asarray")), None)
    edits: tuple[Edit, ...] = ()
    if array is not None and array.path == file.path:
        edits = (file.edit(array.span, f'({array.code} > 127).astype("uint8")'),)
    text = "Write `mask = (mask > 127)` after reading, unless the file holds 0 and 1 already: `np.unique(mask)` tells."
    fix = Fix(text, _safety(edits), "a file of 0 and 1 would become all 0", edits=edits)
    return Hit(
        message, start.span if trail.start.path == file.path else trail.steps[-1].span, fix, (read,), Level.WARNING
    )


# -- masks on disk -----------------------------------------------------------------------------------------------------


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    folders = [(folder, masks) for folder in audited(plan) if (masks := class_number_masks(folder))]
    if not folders:
        raise NotApplicable("no data folder holds masks of numbers")
    for folder, masks in folders:
        stated = stated_classes(plan.settings)
        classes = len(folder.classes) or (stated[1] if stated is not None else 0)
        allowed = frozenset(range(classes)) | ignored_values(plan.settings)
        black_white = [mask for mask in masks if is_black_and_white(mask)]
        if classes > 1 and len(black_white) < len(masks):
            wrong = [(mask, values_of(mask) - allowed) for mask in masks]
            why = f"{folder.key} has the {classes} classes 0 to {classes - 1}"
        elif classes > 1 and folder.layout != "forged-masks":
            wrong = [(mask, frozenset({255})) for mask in masks if 255 in values_of(mask)]
            why = f"{folder.key} has the {classes} classes 0 to {classes - 1}, and 255 is read as none of them"
        else:
            wrong = [(mask, values_of(mask) - {0, 255}) for mask in masks]
            why = f"the other {len(black_white)} masks hold 0 and 255"
            if len(black_white) < _SCHEME * len(masks) or len(masks) < _FEWEST:
                continue
        wrong = [(mask, values) for mask, values in wrong if values]
        if wrong:
            yield _on_disk(plan, folder, wrong, len(masks), classes, why)


def _on_disk(
    plan: Plan, folder: FolderAudit, wrong: list[tuple[MaskRecord, frozenset[int]]], of: int, classes: int, why: str
) -> Finding:
    found = sorted(frozenset().union(*(values for _, values in wrong)))
    first, values = wrong[0]
    return Finding(
        "mask-values",
        Level.ERROR if classes > 1 else Level.WARNING,
        f"{folder.key}: {share(len(wrong), of)} masks hold {listed([str(value) for value in found], 6)}; {why}: "
        f"{short(first.path)} holds {listed([str(value) for value in sorted(values)], 6)}",
        setting_place(plan, folder.key),
        file_evidence((mask.path, f"holds {listed([str(value) for value in sorted(own)], 8)}") for mask, own in wrong),
        Fix(_remap(found, classes, [mask for mask, _ in wrong])),
    )


def _remap(found: list[int], classes: int, masks: list[MaskRecord]) -> str:
    """The mapping to write, where there is only one that makes sense."""
    held = sorted(frozenset().union(*(values_of(mask) for mask in masks)))
    if found == [255] and classes in (0, 2):
        return "Write {255: 1}: `mask = (mask > 127).astype(numpy.uint8)`."
    if found == [1] and classes == 0:
        return "Write {1: 255} in these masks, as in the others: `mask = mask * 255`."
    if found == [classes] and 0 not in held:
        return f"Classes are counted from 1: subtract 1, {{1: 0, ..., {classes}: {classes - 1}}}."
    if 1 < len(held) <= classes and held[0] == 0 and len({b - a for a, b in pairwise(held)}) == 1:
        return f"Write {{{', '.join(f'{value}: {number}' for number, value in enumerate(held))}}}."
    return f"Map {listed([str(value) for value in found], 6)} to a class, or to 255 with ignore_index=255."


RULE = Rule(
    slug="mask-values",
    family="data",
    title="The values of a mask are not class numbers",
    level=Level.ERROR,
    log=absent("an error about such a value is a rule of its own: label-out-of-range"),
    source=SourceFacet(("mask", "Mask", "Segmentation", "Cityscapes", "label", "Loss", "classes"), _examine),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("targets are no part of a step's facts"),
    module=__name__,
)
