"""A label is not among the classes that the model has outputs for.

What happens
------------
On the CPU `IndexError: Target 10 is out of bounds.`; from `one_hot` `Class values must be smaller than num_classes.`
On the GPU `RuntimeError: CUDA error: device-side assert triggered`, at a line that has nothing to do with it, while
further up stands ``Assertion `t >= 0 && t < n_classes` failed``.

Why
---
The loss takes the label as an index into the outputs, so that for N classes labels must be 0 to N-1. Labels that are
counted from 1, the value 255 that masks use for "ignore", a background that was not counted, annotations with a class
that the settings do not list, or a head of the wrong size break that. The GPU reports the failed check later, and no
further CUDA call of the process works.

How to confirm
--------------
`labels.min(), labels.max()` over the whole data set against the last dimension of the output. On the GPU start again
with `CUDA_LAUNCH_BLOCKING=1`, or run one batch on the CPU: it names the value.

Fix
---
Count labels from 0; give the loss `ignore_index=255` where that value means "ignore"; set `num_classes` to the largest
label plus one. Check the labels once when the data set is made, so that the file is named.

When it is something else
-------------------------
``Assertion `input >= 0 && input <= 1` `` is a binary loss on numbers that are no probabilities. `index out of range in
self` comes from an embedding: labels only in a model that embeds them, else tokens or positions.

Sources
-------
- `torch.nn.CrossEntropyLoss`, targets and `ignore_index`:
  https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
- CUDA, asynchronous execution: https://docs.pytorch.org/docs/stable/notes/cuda.html#asynchronous-execution
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.audits import audited, listed, share, short
from snellen.core.classes_of import folded, stated_classes
from snellen.core.code.classes import ClassCount, ClassMap, class_counts, class_maps, is_map_name
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]


_TARGET = re.compile(r"Target (?P<label>-?\d{1,19}) is out of bounds", re.IGNORECASE)
_CLASSES = re.compile(
    r"Assertion [`'](?:t|cur_target|target_val|target) >= 0 && (?:t|cur_target|target_val|target) < n_?classes"
    r"|ClassNLLCriterion[^\n]{0,120}assert|(?:device-side assert|Assertion)[^\n]{0,200}(?:NLLCriterion|NLLLoss)"
    r"|NLLLoss(?:2d)?\.cu[^\n]{0,120}assert",
    re.IGNORECASE,
)
_ONE_HOT = re.compile(
    r"Class values must be (?:smaller than num_classes|non-negative)"
    r"|The highest label in [`']?target[`']? should be smaller than"
    r"|Detected the following values in [`']?(?:target|preds)[`']?:"
    r"|Detected more unique values in [`']?(?:target|preds)[`']? than"
    r"|Received a label value of -?\d{1,12} which is outside the valid range",
    re.IGNORECASE,
)
_YOLO = re.compile(
    r"Label class (?P<label>\d{1,6}) exceeds (?:nc=|dataset class count )(?P<count>\d{1,6})", re.IGNORECASE
)
_ASSERTED = re.compile(
    r"Assertion [`'](?:idx_dim >= 0 && idx_dim < index_size|indexValue >= 0 && indexValue < "
    r"|srcIndex < srcSelectDimSize|index >= -sizes\[i\] && index < sizes|-sizes\[i\] <= index && index < sizes"
    r"|ind >=? 0 && ind < ind_dim_size|t >= 0)",
    re.IGNORECASE,
)
_ANY_ASSERTION = re.compile(r"Assertion [`'](?P<what>[^`'\n]{3,200})", re.IGNORECASE)
_ASSERT = re.compile(r"device-side assert triggered", re.IGNORECASE)
_LOSS = re.compile(
    r"cross_?entropy|nll_loss|criterion|loss|one_hot|scatter_?\(|label|target|focal|dice|class", re.IGNORECASE
)
_SCATTER = re.compile(r"index (?P<label>-?\d{1,12}) is out of bounds for dimension \d with size (?P<count>\d{1,9})")
_TEXT = re.compile(
    r"token|input_ids|vocab|\bbert|gpt|llama|text|position|word|caption|prompt|\bwte\b|embed", re.IGNORECASE
)
_EMBEDS = re.compile(r"label|class|(?<!\w)y(?!\w)|cls", re.IGNORECASE)
_COUNT = re.compile(
    r"\b(?:num|n)_?classes['\"]?\s{0,3}[=:]\s{0,3}(?P<count>\d{1,6})\b|\bnc\s{0,3}[=:]\s{0,3}(?P<nc>\d{1,6})\b"
)
_IGNORED = 255


def _examine_log(log: Log) -> LogMatch | None:
    for pattern, score in ((_TARGET, 0.98), (_YOLO, 0.95), (_CLASSES, 0.97), (_ONE_HOT, 0.93)):
        found = find_message(log, pattern)
        if found is not None:
            return _match(log, found, score)
    found = find_message(log, _SCATTER)
    if found is not None and found.error and re.search(r"scatter|one_hot", found.code):
        return _match(log, found, 0.8)
    found = find_message(log, re.compile("index out of range in self"))
    if found is not None and found.frame is not None and _EMBEDS.search(found.frame.code):
        return _match(log, found, 0.65)
    if found is not None and found.frame is None and not log.search(_TEXT.pattern):
        return _match(log, found, 0.55)
    return _asserted(log)


def _asserted(log: Log) -> LogMatch | None:
    """A failed check on the GPU: which one, and where it was noticed, decides."""
    found = find_message(log, _ASSERT)
    index = find_message(log, _ASSERTED)
    other = log.search(_ANY_ASSERTION.pattern)
    if index is not None:
        in_loss = found is not None and bool(_LOSS.search(found.code))
        # Reading by index fails for tokens and boxes as well; the line it was noticed in is only a hint.
        return _match(log, index, 0.75 if in_loss else 0.6)
    if found is None or other is not None:
        return None
    code = found.frame.code + found.frame.function if found.frame is not None else ""
    lines = " ".join(line.text for line in log.lines[-40:])
    if re.search(r"token|input_ids|position|vocab|multinomial|generate\(", lines, re.IGNORECASE):
        return None
    # Without the text of the check: an impossible label is the commonest cause by far.
    return _match(log, found, 0.75 if _LOSS.search(code) else 0.65 if _LOSS.search(lines) else 0.55)


def _match(log: Log, found: Message, score: float) -> LogMatch:
    groups = found.match.groupdict()
    label = int(groups["label"]) if groups.get("label") else None
    count = int(groups["count"]) if groups.get("count") else _stated(log)
    evidence = found.facts
    return LogMatch(score, evidence, _cause(label, count), _fix(label, count))


def _stated(log: Log) -> int | None:
    for line in log.lines:
        found = _COUNT.search(line.text)
        if found:
            return int(found["count"] or found["nc"])
    return None


def _cause(label: int | None, count: int | None) -> str:
    which = f"The label {label}" if label is not None else "A label"
    if count is not None:
        return f"{which} is none of the {count} classes, 0 to {count - 1}, that the model has outputs for."
    return f"{which} is none of the classes that the model has outputs for; N outputs take labels 0 to N-1."


def _fix(label: int | None, count: int | None) -> Fix:
    command = "CUDA_LAUNCH_BLOCKING=1 python train.py" if label is None else None
    if label == _IGNORED:
        return Fix("255 marks pixels to leave out: `CrossEntropyLoss(ignore_index=255)`.")
    if label is not None and label < 0:
        return Fix(f"{label} marks what is to be left out: pass `ignore_index={label}`, or drop these samples.")
    if label is not None and count == label:
        return Fix(f"Labels seem to count from 1: subtract 1, or give the model {label + 1} outputs.")
    if label is not None:
        return Fix(
            f"Give the model at least {label + 1} outputs, or mend the label: find the sample that holds {label}. If "
            "labels count from 1, subtract 1."
        )
    return Fix(
        "Compare `labels.min()` and `labels.max()` of the whole data set with the number of outputs: labels that count "
        "from 1, 255 for pixels to leave out (`ignore_index=255`), or a class that the settings do not list.",
        command=command,
    )


# -- in source ---------------------------------------------------------------------------------------------------------

_KNOWN_SETS = frozenset(f"torchvision.datasets.{name}" for name in ("EMNIST", "OxfordIIITPet", "VOCSegmentation"))
_LOSSES = frozenset({"torch.nn.CrossEntropyLoss", "torch.nn.functional.cross_entropy", "torch.nn.NLLLoss"})
_SHIFTED = re.compile(
    r"(?:label|target|mask|\by|cls|categor\w*|idx)\w*\)?(?:\[[^\]\n]{0,40}\])?\s*-\s*1\b|-=\s*1\b|sub_?\(1\)|reduce_zero_label"
)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    maps = [found for found in class_maps(file) if is_map_name(found.target)]
    if not maps and not any(call.name in _KNOWN_SETS for call in file.calls):
        return
    if any(_SHIFTED.search(part.text) for part in (file, *file.elsewhere)):
        return
    counts = class_counts(file) or tuple(count for part in file.elsewhere for count in class_counts(part))
    yield from _maps(file, maps, counts)
    yield from _known_sets(file, counts)


def _maps(file: SourceFile, maps: list[ClassMap], counts: tuple[ClassCount, ...]) -> Iterator[Hit]:
    """Maps from names to numbers that count from 1, where the outputs are as many as the names."""
    numbers = {count.count for count in counts}
    for found in maps:
        size = len(found.values)
        if size and numbers == {size} and sorted(found.values) == list(range(1, size + 1)):
            yield _from_one(found, size, (counts[0].evidence,))
        elif found.of and found.start == 1 and _sized_by(file, found):
            yield _from_one(found, f"len({found.of})")


def _sized_by(file: SourceFile, found: ClassMap) -> bool:
    """Whether the number of classes is the length of what the map counts."""
    return bool(re.search(rf"(?:num|n)_?classes\s*=\s*len\({re.escape(found.of)}\)(?!\s*\+)", file.text))


def _from_one(found: ClassMap, count: int | str, evidence: tuple[Evidence, ...] = ()) -> Hit:
    last = count - 1 if isinstance(count, int) else f"{count} - 1"
    message = f"`{found.target}` counts classes from 1 to {count}, but {count} outputs take the labels 0 to {last}"
    fix = Fix("Count from 0; or give the model one output more, when 0 is the background.")
    return Hit(message, found.span, fix, evidence)


def _known_sets(file: SourceFile, counts: tuple[ClassCount, ...]) -> Iterator[Hit]:
    """Data sets of torchvision whose labels do not count from 0, or hold a value to leave out."""
    numbers = {count.count for count in counts}
    for call in file.calls_to("torchvision.datasets.EMNIST"):
        split = call.argument(1, "split")
        if split is not None and split.value == "letters" and numbers == {26}:
            fix = Fix("Give the model 27 outputs, or pass `target_transform` to subtract 1.")
            yield Hit("EMNIST letters are labelled 1 to 26, and 26 outputs take 0 to 25", call.span, fix)
    for call in file.calls_to("torchvision.datasets.OxfordIIITPet"):
        kinds = call.argument(2, "target_types")
        if kinds is not None and kinds.value == "segmentation" and numbers == {3}:
            fix = Fix("Subtract 1 from the masks: 1 is the pet, 2 the background, 3 the border.")
            yield Hit("the masks of Oxford-IIIT Pet hold 1 to 3, and 3 outputs take 0 to 2", call.span, fix)
    if any(call.name == "torchvision.datasets.VOCSegmentation" for call in file.calls):
        yield from _voc(file)


def _voc(file: SourceFile) -> Iterator[Hit]:
    if "255" in file.text or any("255" in part.text for part in file.elsewhere):
        return
    for call in file.calls:
        if call.name in _LOSSES and call.argument(99, "ignore_index") is None:
            message = "the masks of Pascal VOC hold 255 at the borders of objects, which is none of the classes"
            yield Hit(message, call.span, _ignore(file, call))


def _ignore(file: SourceFile, call: CallSite) -> Fix:
    inside = call.code[: call.code.rindex(")")].rstrip().rstrip(",")
    written = f"{inside}ignore_index=255)" if inside.endswith("(") else f"{inside}, ignore_index=255)"
    return Fix(
        f"Write `{' '.join(written.split())}`.",
        FixSafety.UNSAFE,
        "the loss leaves these pixels out, where it failed before",
        edits=(file.edit(call.span, written),),
    )


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """Labels of samples and boxes that the list of classes, or the number of them, does not hold."""
    judged = False
    stated = stated_classes(plan.settings)
    for folder in audited(plan):
        labels = list(_labels(folder))
        names = {label for label, _ in labels}
        if not names:
            continue
        if folder.classes:
            judged = True
            known = {folded(name) for name in folder.classes}
            wrong = [one for one in labels if not _is_known(one[0], known, len(folder.classes))]
            if wrong:
                yield _unknown(plan, folder, wrong, len(labels))
        if stated is not None:
            judged = True
            numbers = [int(name) for name in names if name.isdecimal() and len(name) < 10]
            needed = max(numbers) + 1 if len(numbers) == len(names) else len(folder.classes or names)
            if needed > stated[1]:
                message = f"{stated[0]} is {stated[1]}, and {folder.key} holds labels of {needed} classes"
                fix = Fix(f"List all of {listed(sorted(names), 12)}.")
                if stated[0].endswith(("num_classes", "n_classes")):
                    setting = ((stated[0], needed),)
                    fix = Fix(f"Write {stated[0]}: {needed}", FixSafety.UNSAFE, "the head changes", settings=setting)
                yield Finding("label-out-of-range", Level.ERROR, message, setting_place(plan, stated[0]), fix=fix)
    if not judged:
        raise NotApplicable("nothing says which classes there are, or no data folder carries labels")


def _labels(folder: FolderAudit) -> Iterator[tuple[str, Location]]:
    for sample in folder.samples:
        if sample.label is not None:
            yield sample.label, Location(sample.image)
        yield from ((box.label, Location(box.path, box.line)) for box in sample.boxes or ())


def _is_known(label: str, known: set[str], classes: int) -> bool:
    # Another spelling of a known name is class-name-variants.
    return folded(label) in known or (label.isdecimal() and len(label) < 10 and int(label) < classes)


def _unknown(plan: Plan, folder: FolderAudit, wrong: list[tuple[str, Location]], of: int) -> Finding:
    names = sorted({label for label, _ in wrong})
    count = len(folder.classes)
    fix = f"Add {listed(names, 6)} to {folder.classes_from or 'the list of classes'}, or correct these labels."
    label, where = wrong[0]
    if names == [str(count)] and not any(one == "0" for one, _ in _labels(folder)):
        fix = f"The labels are counted from 1: subtract 1, {{1: 0, ..., {count}: {count - 1}}}."
    return Finding(
        "label-out-of-range",
        Level.ERROR,
        f"{folder.key}: {share(len(wrong), of)} labels are none of the {count} classes"
        + (f" of {folder.classes_from}" if folder.classes_from else "")
        + f": {listed(names, 6)}, such as {label} in {short(where.path)}",
        setting_place(plan, folder.key),
        tuple(Evidence(f"is labelled {name}", place) for name, place in wrong[:20]),
        Fix(fix),
    )


RULE = Rule(
    slug="label-out-of-range",
    family="data",
    title="A label is none of the model's classes",
    level=Level.ERROR,
    log=LogFacet(
        (
            *("out of bounds", "n_classes", "device-side assert", "class values must be", "the highest label in"),
            *("detected the following values", "detected more unique", "outside the valid range", "label class"),
            *("index out of range in self", "nllcriterion", "nllloss", "assertion `"),
        ),
        _examine_log,
    ),
    source=SourceFacet(("class", "label", "EMNIST", "OxfordIIITPet", "VOCSegmentation"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the loss fails before the step ends"),
    module=__name__,
)
