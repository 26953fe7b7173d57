"""The weights of the classes are not as many as the classes.

What happens
------------
`RuntimeError: weight tensor should be defined either for all 10 classes or no classes but got weight tensor of shape:
[9]`, at the first loss. MMDetection refuses to start: ``The `num_classes` (80) in RetinaHead ... does not matches the
length of `CLASSES` 3) in CocoDataset``.

Why
---
The loss multiplies the term of each class by its weight, so that there must be one weight for each output of the
model. Weights that were counted from the training labels miss a class that has no sample there; a background was
counted in one place and not in the other; the head was changed for another data set and the weights, or the list of
names, were not.

How to confirm
--------------
`len(weights)`, the last dimension of the output and `len(class_names)` must be the same number.

Fix
---
Make the weights from the number of classes and not from the labels that occur:
`counts = torch.bincount(labels, minlength=num_classes)`, then `weights = counts.sum() / counts.clamp(min=1)`.

When it is something else
-------------------------
`Target N is out of bounds` is a label that has no output: see `label-out-of-range`. A checkpoint with a head of
another size fails when it is loaded, not in the loss.

Sources
-------
- `torch.nn.CrossEntropyLoss`, `weight`: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
- `torch.bincount`: https://docs.pytorch.org/docs/stable/generated/torch.bincount.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from snellen.core.classes_of import class_counts as counts_in
from snellen.core.code.classes import ClassCount, class_counts
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.plan import Cost, FactUnavailable, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, Origin, SourceFile

__all__ = ["RULE"]


_STATED = re.compile(
    r"weight tensor should be defined either for all(?: (?P<classes>\d{1,7}))?(?: classes)? or no classes"
    r"(?:,? but got weight tensor of shape:? ?\[(?P<weights>[\d, ]{1,40})\])?",
    re.IGNORECASE,
)
_HEAD = re.compile(
    r"The [`']num_classes[`'] \((?P<head>\d{1,7})\) in (?P<part>\w{1,60}) of \w{1,60} does not match(?:es)? the length "
    r"of [`']CLASSES[`'] \(?(?P<names>\d{1,7})\)",
    re.IGNORECASE,
)


def _examine_log(log: Log) -> LogMatch | None:
    found = find_message(log, _STATED)
    if found is not None:
        classes, weights = found.match["classes"], found.match["weights"]
        if classes and weights:
            cause = f"The loss was given {weights.strip()} class weights for {classes} classes."
            text = f"Give it {classes}: `torch.bincount(labels, minlength={classes})` also counts absent classes."
        else:
            cause = "The loss was given another number of class weights than there are classes."
            text = "Give it one weight for each output of the model."
        return LogMatch(0.98, found.facts, cause, Fix(text))
    found = find_message(log, _HEAD)
    if found is None:
        return None
    head, names, part = found.match["head"], found.match["names"], found.match["part"]
    cause = f"`{part}` has {head} classes, but the data set lists {names} names."
    text = (
        f"Set `num_classes={names}` in `{part}`, or list {head} names in the data set: `metainfo=dict(classes=(..,))`, "
        "with a comma after a single one, in the settings of training, validation and test."
    )
    return LogMatch(0.85, found.facts, cause, Fix(text))


_LOSSES = {
    "torch.nn.CrossEntropyLoss": (0, "weight"),
    "torch.nn.NLLLoss": (0, "weight"),
    "torch.nn.functional.cross_entropy": (2, "weight"),
    "torch.nn.functional.nll_loss": (2, "weight"),
    "torch.nn.BCEWithLogitsLoss": (99, "pos_weight"),
    "torch.nn.functional.binary_cross_entropy_with_logits": (99, "pos_weight"),
}
_HOLDS = frozenset(
    {
        *(
            "torch.tensor",
            "torch.as_tensor",
            "torch.FloatTensor",
            "torch.Tensor",
            "torch.from_numpy",
            "torch.cuda.FloatTensor",
        ),
        *("numpy.array", "numpy.asarray", "torch.asarray"),
    }
)
_FILLED = frozenset(
    {"torch.ones", "torch.zeros", "torch.full", "torch.rand", "torch.empty", "numpy.ones", "numpy.zeros"}
)
_DEEPEST = 4


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        if call.name in _LOSSES:
            weights = call.argument(*_LOSSES[call.name])
            count = _length(weights) if weights is not None else None
            if weights is not None and count is None:
                yield from _of_all_classes(file, weights)
            if weights is not None and count is not None and not (count == 1 and "pos" in (weights.name or "")):
                yield from _compared(weights, count, _stated(file))
        elif call.name == "dict":
            yield from _in_settings(file, call)


def _stated(file: SourceFile) -> tuple[ClassCount, ...]:
    return class_counts(file) or tuple(count for part in file.elsewhere for count in class_counts(part))


def _compared(weights: Argument, count: int, stated: tuple[ClassCount, ...]) -> Iterator[Hit]:
    numbers = {other.count for other in stated}
    # Several models in one file: which of them this loss belongs to is not settled.
    if len(numbers) != 1 or count in numbers:
        return
    other = stated[0]
    message = f"{count} class weights for {other.count} classes"
    fix = Fix(
        f"Give the loss {other.count} weights, one for each output of the model, or change the number of classes."
    )
    yield Hit(message, weights.span, fix, (other.evidence,))


def _of_all_classes(file: SourceFile, weights: Argument) -> Iterator[Hit]:
    """Weights of all classes for a head that only has outputs for those that occur: `torch.nonzero(weights)`."""
    name = re.match(r"[A-Za-z_][\w.]*?(?=$|\.(?:to|cuda|float)\()", weights.code)
    if name is None:
        return
    word = re.escape(name[0])
    active = re.compile(
        rf"nonzero\(\s*{word}\b|\b{word}\.nonzero\(|for (\w+), (\w+) in enumerate\({word}\b[^)]*\) if \2"
    )
    for item in file.assignments:
        if not active.search(item.code) or not item.target.isidentifier():
            continue
        head = next((c for c in file.calls for a in c.arguments if a.code == f"len({item.target})" and _sizes(c)), None)
        if head is not None:
            place = Location(file.path, head.span.start_line, head.span.start_column + 1)
            message = f"`{weights.code}` holds a weight for every class, but the model has len({item.target}) outputs"
            fix = Fix(f"Take the weights of those classes: `{name[0]}[{item.target}]`.")
            yield Hit(message, weights.span, fix, (Evidence(head.code, place),))
            return


def _sizes(call: CallSite) -> bool:
    """Whether a call makes a layer or a model of so many outputs."""
    named = any(argument.name in ("num_classes", "out_features", "n_classes", "classes") for argument in call.arguments)
    return named or call.name in ("torch.nn.Linear", "torch.nn.Conv2d")


def _length(argument: Argument) -> int | None:
    """How many numbers an argument holds, as far as it is written out."""
    value, origin = argument.value, argument.origin
    for _ in range(_DEEPEST):
        if isinstance(value, tuple):
            return len(value) if all(isinstance(entry, (int, float)) for entry in value) else None
        if origin is None or not _whole(origin) or not origin.call.arguments:
            return None
        first = origin.call.arguments[0]
        if origin.name in _FILLED:
            sizes = first.value if isinstance(first.value, tuple) else (first.value,)
            return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], int) else None
        if origin.name not in _HOLDS:
            return None
        value, origin = first.value, first.origin
    return None


def _whole(origin: Origin) -> bool:
    """Whether nothing was taken out of it since."""
    return not any(step == "[]" or step.startswith(".") for step in origin.through)


def _in_settings(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    """`dict(num_classes=19, loss_decode=dict(class_weight=[...]))`, as OpenMMLab writes it."""
    weights = call.argument(99, "class_weight")
    count = _length(weights) if weights is not None else None
    if weights is None or count is None:
        return
    around = [other for other in file.calls if other.name == "dict" and other.span.contains(call.span)]
    stated = [(other.argument(99, "num_classes"), other) for other in around]
    inner = next((argument for argument, _ in reversed(stated) if argument is not None), None)
    if inner is None or not isinstance(inner.value, int) or count in (inner.value, inner.value + 1):
        return
    message = f"{count} class weights for num_classes={inner.value}"
    yield Hit(
        message, weights.span, Fix(f"Write {inner.value} weights, one for each class, and one more for a background.")
    )


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    weights = [(key, value) for key, value in _walk(plan.settings) if re.search(r"class_weights?$", key)]
    counts = {
        (value if isinstance(value, int) else len(value)): key
        for key, value in _walk(plan.settings)
        if (key.endswith("num_classes") and isinstance(value, int))
        or (re.search(r"(?:^|\.)(?:classes|class_names)$", key) and isinstance(value, (list, tuple)))
    }
    listed = [(key, len(value)) for key, value in weights if isinstance(value, (list, tuple))]
    if listed and not counts:
        counts = _in_folders(plan)
    if not listed or not counts:
        raise NotApplicable("no setting lists class weights beside a number of classes")
    for key, length in listed:
        if length not in counts:
            number, other = next(iter(counts.items()))
            yield Finding(
                "class-weights-length",
                Level.ERROR,
                f"{key} holds {length} numbers, but {other} says {number} classes",
                setting_place(plan, key),
                fix=Fix(f"Write {number} weights, one for each class."),
            )


def _in_folders(plan: Plan) -> dict[int, str]:
    """How many classes the data hold, where no setting says it."""
    try:
        folders = [folder for folder in plan.fact("audit") if folder.split in ("train", "data")]
    except FactUnavailable:
        return {}
    found = {len(folder.classes) or len(counts_in(folder)): folder.key for folder in folders}
    return {number: key for number, key in found.items() if number > 1}


def _walk(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping):
            yield from _walk(value, key)
        elif not isinstance(value, bool):
            yield key, value


RULE = Rule(
    slug="class-weights-length",
    family="data",
    title="Class weights and classes differ in number",
    level=Level.ERROR,
    log=LogFacet(("weight tensor should be defined", "the length of `classes`"), _examine_log),
    source=SourceFacet(("weight",), _examine_source),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("the first loss fails before the step ends"),
    module=__name__,
)
