"""Samples of different size are to be stacked into one batch.

What happens
------------
`RuntimeError: stack expects each tensor to be equal size, but got [3, 224, 298] at entry 0 and [3, 224, 336] at entry
1`, raised by `default_collate`. With workers some versions print `Trying to resize storage that is not resizable`
instead; before PyTorch 1.5 `Sizes of tensors must match except in dimension 0`. For lists: `each element in list of
batch should be of equal size`.

Why
---
A batch is one tensor, so all its samples must have the same shape. `Resize(224)` with one number makes the shorter side
224 and keeps the ratio; `Resize((224, 224))` makes both. A crop may reach over the edge and be smaller. Boxes, points
and captions differ in number from image to image and cannot be stacked at all.

How to confirm
--------------
`{tuple(dataset[i][0].shape) for i in range(50)}` holds more than one shape. With `batch_size=1` it runs.

Fix
---
Bring all samples to one size in the transform (`Resize((H, W))`, or `Resize(256)` and a crop, or padding), or pad to
the largest of the batch in a `collate_fn`. For detection return lists: `collate_fn=lambda batch: tuple(zip(*batch))`,
written as a named function.

When it is something else
-------------------------
`torch.stack` or `torch.cat` in the model or the loss fails with the same words, but not inside the loader: see
`spatial-mismatch`. `default_collate: batch must contain tensors ... found <class 'PIL.Image.Image'>` is a transform
without `ToTensor`.

Sources
-------
- `torchvision.transforms.Resize`: https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Resize.html
- `torch.utils.data.default_collate`: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.default_collate
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from snellen.core.code.loaders import Loader, dataset_classes, loaders
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message, in_loader, numbers
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]


_STACK = re.compile(
    r"stack expects each tensor to be (?:equal|the same) size, but got (?P<a>\[[\d, ]{0,80}\]) at entry (?P<i>\d+) and "
    r"(?P<b>\[[\d, ]{0,80}\]) at entry (?P<j>\d+)",
    re.IGNORECASE,
)
_OLD = re.compile(
    r"Sizes of tensors must match except in dimension 0\. (?:Got (?P<a>\d+) and (?P<b>\d+) in dimension (?P<dim>\d+)"
    r"|Expected size (?P<c>\d+) but got size (?P<d>\d+))|inconsistent tensor sizes? at",
    re.IGNORECASE,
)
_RESIZE = re.compile(r"Trying to resize storage that is not resizable", re.IGNORECASE)
_LISTS = re.compile(r"each element in list of batch should be of equal size", re.IGNORECASE)
_ARRAYS = re.compile(
    r"all input arrays must have the same shape|expected sequence of length (?P<a>\d+) at dim (?P<dim>\d+) "
    r"\(got (?P<b>\d+)\)|setting an array element with a sequence|must have the same shape, got",
    re.IGNORECASE,
)
_COLLATES = re.compile(r"collate", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    loading = log.search(r"data_?loader|_worker_loop|collate|utils[\\/]data") is not None
    for pattern, inside, alone in ((_STACK, 0.97, 0.82), (_OLD, 0.93, 0.4), (_RESIZE, 0.88, 0.6), (_LISTS, 0.97, 0.9)):
        found = find_message(log, pattern)
        if found is not None:
            return _match(found, inside if _in_loader(found, loading) else _outside(found, alone))
    found = find_message(log, _ARRAYS)
    if (
        found is not None
        and found.error
        and any(_COLLATES.search(f"{f.function} {f.path}") for f in found.error.frames)
    ):
        return _match(found, 0.8)
    return None


def _in_loader(found: Message, loading: bool) -> bool:
    return in_loader(found.error) if found.error is not None and found.error.frames else loading


def _outside(found: Message, alone: float) -> float:
    """A traceback that does not lead through a loader speaks of the model or the loss."""
    return min(alone, 0.55) if found.error is not None and found.error.frames else alone


def _match(found: Message, score: float) -> LogMatch | None:
    if score < 0.5:
        return None
    shapes = found.match.groupdict()
    if found.match.re is _STACK:
        first, second = numbers(shapes["a"] or ""), numbers(shapes["b"] or "")
        cause = f"One batch holds samples of shape {_shape(first)} and {_shape(second)}; they cannot be stacked."
        return LogMatch(score, found.facts, cause, Fix(_advice(first, second)))
    if found.match.re is _LISTS:
        cause = "The samples of one batch are lists of different length, such as the boxes of each image."
        return LogMatch(score, found.facts, cause, Fix(_OBJECTS))
    one, other = shapes.get("a") or shapes.get("c"), shapes.get("b") or shapes.get("d")
    if one and other:
        cause = f"Samples of one batch differ in size: {one} and {other}."
    else:
        cause = "Samples of one batch differ in size, so that they do not fit into one tensor."
    empty = "0" in (one, other)
    text = "One sample is empty: look for crops that fall outside the image. " if empty else ""
    fix = Fix(f"{text}Bring all samples to one size in the transform, or pad them in a `collate_fn`.")
    return LogMatch(score, found.facts, cause, fix)


_OBJECTS = (
    "Numbers of boxes or labels differ from image to image: give the loader a `collate_fn` that returns lists "
    "(`tuple(zip(*batch))`), or pad to the longest."
)


def _shape(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes)) if sizes else "one number"


def _advice(first: tuple[int, ...], second: tuple[int, ...]) -> str:
    if len(first) != len(second):
        return (
            f"Some samples have {len(first)} dimensions and others {len(second)}: convert all images to one mode, for "
            'example `image.convert("RGB")`.'
        )
    differ = [k for k in range(len(first)) if first[k] != second[k]]
    if 0 in (*first, *second):
        return "One sample is empty: look for crops that fall outside the image, or images without any box."
    if len(first) >= 3 and differ == [0] and {first[0], second[0]} <= {1, 2, 3, 4}:
        return (
            f'Some images have {first[0]} channels and others {second[0]}: `image.convert("RGB")` when they are read.'
        )
    if len(first) <= 2 and differ == [0]:
        return _OBJECTS
    height, width = (max(first[k], second[k]) for k in (-2, -1))
    if min(first[-2:]) == min(second[-2:]) and len(first) >= 3:
        side = min(first[-2:])
        return (
            f"The shorter sides are equal: `Resize({side})` with one number keeps the ratio. Write "
            f"`Resize(({side}, {side}))`, or add `CenterCrop({side})` after it."
        )
    return (
        f"Bring all images to one size in the transform, for example `Resize(({height}, {width}))` or a crop, or pad "
        f"them to {height} x {width} in a `collate_fn`."
    )


# -- in source ---------------------------------------------------------------------------------------------------------

_FIXED_SIZE = re.compile(
    r"CIFAR|MNIST|SVHN|STL10|USPS|FakeData|EuroSAT|CelebA|LFW|PCAM|FER2013|Omniglot|Semeion|load_digits"
    r"|batch_size\s*=\s*1\b"
)
_CROPS = frozenset({"CenterCrop", "RandomCrop", "RandomResizedCrop", "FiveCrop", "TenCrop", "RandomSizedCrop"})
_KEEPING = frozenset(
    (
        *("ToTensor", "Normalize", "RandomHorizontalFlip", "RandomVerticalFlip", "ColorJitter", "Grayscale", "ToImage"),
        *(
            "RandomGrayscale",
            "GaussianBlur",
            "PILToTensor",
            "ToDtype",
            "ConvertImageDtype",
            "RandomErasing",
            "RandAugment",
        ),
        *("AutoAugment", "TrivialAugmentWide", "RandomApply", "RandomRotation", "RandomAffine", "ToPILImage", "Resize"),
        *("RandomPerspective", "RandomAutocontrast", "RandomEqualize", "RandomInvert", "RandomAdjustSharpness", "RGB"),
    )
)
_COMPOSE = re.compile(r"^torchvision\.transforms\.(?:v2\.)?Compose$")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    composed = [c for c in file.calls if _COMPOSE.match(c.name) and "Resize" in c.code and _given_to_dataset(file, c)]
    own = [loader for loader in loaders(file, project=False) if _stacks(loader)]
    if composed and not any(_FIXED_SIZE.search(part.text) for part in (file, *file.elsewhere)):
        loader = next((loader for loader in loaders(file) if _stacks(loader)), None)
        if loader is not None:
            yield from (hit for compose in composed for hit in _one_number(file, compose, loader))
    yield from _objects(file, own)


def _stacks(loader: Loader) -> bool:
    """Whether a loader puts several samples into one batch in the default way."""
    batch = loader.argument("batch_size")
    several = batch is not None and batch.value not in (1, None)
    return several and loader.argument("collate_fn") is None and "**" not in loader.call.code


def _one_number(file: SourceFile, compose: CallSite, loader: Loader) -> Iterator[Hit]:
    """`Resize(224)` that no crop follows."""
    inner = [call for call in file.calls_in(compose.span) if call.span != compose.span]
    steps = [call for call in inner if not any(o.span != call.span and o.span.contains(call.span) for o in inner)]
    resize, square = None, False
    for step in steps:
        if step.method not in _CROPS | _KEEPING:
            return
        if step.method in _CROPS or (step.method == "Resize" and _one_side(step) is None):
            resize, square = None, True
        elif step.method == "Resize" and not square:
            resize = step
    size = resize.argument(0, "size") if resize is not None else None
    side = _one_side(resize) if resize is not None else None
    if resize is None or size is None or side is None or re.search(r"[\[(,]\s*\*\w", compose.code):
        return
    message = (
        f"`{resize.code}` makes the shorter side {side} and keeps the ratio: images that are not of one ratio "
        "cannot be stacked into a batch"
    )
    pair = f"({side}, {side})"
    fix = Fix(
        f"Write `Resize({pair})`, or add `CenterCrop({side})` after it.",
        FixSafety.UNSAFE,
        "it distorts images that are not square; a crop keeps the ratio and loses the border",
        edits=(file.edit(size.span, pair),),
    )
    yield Hit(message, resize.span, fix, (loader.evidence,), Level.WARNING)


def _one_side(resize: CallSite) -> int | None:
    """The number of `Resize(224)` or `Resize([224])`; `None` for two of them, and when it is not known."""
    size = resize.argument(0, "size")
    value = size.value if size is not None else None
    value = value[0] if isinstance(value, tuple) and len(value) == 1 else value
    return value if isinstance(value, int) else None


def _given_to_dataset(file: SourceFile, compose: CallSite) -> bool:
    """Whether a data set is made with this transform."""
    for call in file.calls:
        holder = call.method.endswith(("Dataset", "Folder")) or call.name.startswith("torchvision.datasets.")
        for argument in call.arguments if holder else ():
            if argument.span.contains(compose.span) or (
                argument.origin is not None and argument.origin.call is compose
            ):
                return True
            if compose.target is not None and re.match(rf"{re.escape(compose.target)}(?:\[|$)", argument.code):
                return True
    own = compose.target is not None and compose.target.startswith("self.")
    return own and any(compose.function.startswith(f"{block.name}.") for block in dataset_classes(file))


_DETECTION = frozenset({"CocoDetection", "VOCDetection"})
_BOXES = re.compile(r"['\"](?:boxes|bboxes)['\"]\s*[\]:]")


def _objects(file: SourceFile, loading: list[Loader]) -> Iterator[Hit]:
    """Boxes, whose number differs from image to image, given to the default collate function."""
    for loader in loading:
        name = loader.dataset
        if name is None or (name not in _DETECTION and not _gives_boxes(file, name)):
            continue
        message = (
            f"`{name}` gives each image its own number of boxes, and the loader stacks samples as if they had one size"
        )
        fix = Fix("Pass a `collate_fn`: a function at the top level that returns `tuple(zip(*batch))`.")
        yield Hit(message, loader.call.span, fix)


def _gives_boxes(file: SourceFile, name: str) -> bool:
    """Whether a data set of the project gives its samples with boxes."""
    for part in (file, *file.elsewhere):
        if f"class {name}" in part.text and any(block.name == name for block in dataset_classes(part)):
            return any(f.name == f"{name}.__getitem__" and _BOXES.search(f.code) for f in part.functions)
    return False


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """Images of several sizes, and nothing in the settings that brings them to one."""
    data, optim = plan.settings.get("data"), plan.settings.get("optim")
    if not isinstance(data, dict) or "image_size" not in data:
        raise NotApplicable("nothing says whether images keep their size")
    if data["image_size"] is not None:
        raise NotApplicable("images are brought to one size: data.image_size is not null")
    if _brought_to_size(plan):
        raise NotApplicable("the task brings its images to one size itself")
    batch = optim.get("batch_size", 8) if isinstance(optim, dict) else 8
    if not isinstance(batch, int) or batch < 2:
        raise NotApplicable("a batch holds one image")
    for folder in plan.fact("audit"):
        sizes = Counter(record.upright_size for record in folder.images.values() if record.height)
        if folder.split != "train" or len(sizes) < 2:
            continue
        key = "data.image_size"
        evidence = tuple(Evidence(f"{count} images of {size[0]} x {size[1]}") for size, count in sizes.most_common(20))
        yield Finding(
            "collate-size-mismatch",
            Level.ERROR,
            f"{folder.key} holds images of {len(sizes)} sizes, data.image_size is null and a batch holds {batch}: they "
            "cannot be stacked",
            setting_place(plan, key),
            evidence,
            Fix(f"Write {key}: a side, or optim.batch_size: 1."),
        )


def _brought_to_size(plan: Plan) -> bool:
    try:
        return any(network.sizes for network in plan.fact("networks"))
    except NotApplicable:
        return False


RULE = Rule(
    slug="collate-size-mismatch",
    family="data",
    title="Samples of different size cannot be stacked",
    level=Level.ERROR,
    log=LogFacet(
        (
            *("stack expects each tensor", "except in dimension 0", "inconsistent tensor size", "not resizable"),
            *("should be of equal size", "same shape", "expected sequence of length", "array element with a sequence"),
        ),
        _examine_log,
    ),
    source=SourceFacet(("DataLoader", "Resize"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the loader fails before the batch reaches a step"),
    module=__name__,
)
