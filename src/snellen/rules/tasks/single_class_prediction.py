"""The model answers the same class everywhere, most often the background.

What happens
------------
Loss falls, pixel accuracy is high, and the overlap of every class but one is 0: `background 79.9, oil 0.0`, a mean IoU
of exactly one over the number of classes, a Dice coefficient of 0.0000 or 2.98e-08 (what smoothing leaves) from epoch
to epoch. In a classification report one class has a recall of 1.00 and the others 0.00; the confusion matrix has one
column.

Why
---
When 99 of 100 pixels are background, answering background is 99% right, and cross entropy is content. Or the labels
say nothing else: masks saved as 0 and 255 and read as class numbers, colours read as indices, masks resized or
loaded empty, an index that is ignored. Or the choice cannot come out otherwise: an argmax over a single output is
always 0, a threshold on logits as if they were probabilities hides what is small.

How to confirm
--------------
`np.unique(mask, return_counts=True)` over ten masks as the model gets them: the values have to be 0 to C - 1, and the
counts show the share of each class. `torch.sigmoid(logits).max()` shows whether the foreground only stays below the
threshold.

Fix
---
First the masks: `mask = (mask > 127).long()` for 0 and 255, a table for colours, nearest neighbour for every resize.
Then the imbalance: a Dice or focal loss beside the cross entropy, `pos_weight`, crops that hold foreground. One
output: sigmoid and a threshold, no argmax.

When it is something else
-------------------------
A class that the split does not hold has no IoU (`nan`) and says nothing. An accuracy at one in the number of classes
and a loss that does not fall is `stuck-at-chance`. A detector without boxes is `detector-empty`.

Sources
-------
- Milletari et al., V-Net (the Dice loss), 3DV 2016: https://arxiv.org/abs/1606.04797
- Lin et al., Focal Loss for Dense Object Detection, ICCV 2017: https://arxiv.org/abs/1708.02002
- `torch.nn.BCEWithLogitsLoss`, `pos_weight`: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from snellen.core.audits import audited
from snellen.core.code.outputs import one_class_outputs
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.log import Log, LogLine, LogMatch
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, DuringFacet, LogFacet, Rule, SourceFacet
from snellen.core.source import Hit, SourceFile
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]

_OF_CLASS = re.compile(r"^(?:m?iou|dice|jaccard)[./](?P<name>.{1,60})$", re.IGNORECASE)
_OVERLAP = re.compile(
    r"(?<![\w])(?P<name>(?:m|val_|valid_|train_|test_|mean )?(?:iou|dice|jaccard)"
    r"(?:[_ ]?(?:score|coeff?(?:icient)?|index|mean))?)"
    r"['\"]?\s{0,3}(?:[:=]|\s-)?\s{0,3}(?:tensor\()?(?P<value>\d{1,3}(?:\.\d{1,20})?(?:e-?\d{1,2})?)(?![\w%])",
    re.IGNORECASE,
)
_LIST = re.compile(r"(?:iou|dice|jaccard)[^\[\n]{0,40}\[(?P<values>[\d\s.,naNe+-]{3,400})\]", re.IGNORECASE)
_ROW = re.compile(
    r"^\s*(?P<name>[A-Za-z_][\w /-]{0,30}?)\s*[:|=]?\s+(?P<value>\d{1,3}(?:\.\d+)?|nan)\s*%?\s*$", re.IGNORECASE
)
_SUMMARY = re.compile(
    r"^(?:m(?:ean)?[ _]?|current |overall |all |avg|average|total)|iou$|accuracy|loss|epoch|dice$", re.IGNORECASE
)
_REPORT = re.compile(
    r"^\s*(?P<name>\S[^\n]{0,40}?)\s{2,}(?P<p>[01]\.\d+)\s+(?P<r>[01]\.\d+)\s+(?P<f>[01]\.\d+)\s+(?P<n>\d{1,9})\s*$"
)
_AVERAGE = re.compile(r"avg|average|accuracy", re.IGNORECASE)
_MATRIX = re.compile(r"^\s*\[{1,2}\s*(?P<row>\d{1,9}(?:[\s,]+\d+)+)\s*\]{1,2},?\s*$")
_SOFT = 1e-5
"""An overlap below this is what a smoothing term leaves."""


def _examine_log(log: Log) -> LogMatch | None:
    if log.exceptions:
        return None
    for judge in (_by_table, _by_report, _by_matrix, _by_course):
        found = judge(log)
        if found is not None:
            return found
    return None


def _by_table(log: Log) -> LogMatch | None:
    """The last list of overlaps by class."""
    tables = [*_tables(log), *_plain_tables(log), *_lists(log)]
    if not tables:
        return None
    line, scores = max(tables, key=lambda table: table[0].number)
    known = {name: value for name, value in scores.items() if math.isfinite(value)}
    found = [name for name, value in known.items() if value > 0]
    if len(scores) > 1 and len(known) == len(found) == 1 and known[found[0]] in (1.0, 100.0):
        cause = f"Labels and answers hold one class only, {found[0]}; {len(scores) - 1} others never occur."
        return LogMatch(0.75, (line.evidence,), cause, _fix(len(scores)))
    if len(known) < 2 or len(found) > 1 or any(_several(other) for _, other in tables):
        return None
    zeros = [name for name in known if name not in found]
    if not found:
        cause = (
            f"No class overlaps with its labels ({', '.join(zeros[:4])}: 0.0): they hold other values than the answers."
        )
        fix = Fix(
            f"Look at the labels as the model gets them: `np.unique(mask)` has to give 0 to {len(scores) - 1}, not 0 "
            "and 255 or colours; check the ignored index (`reduce_zero_label` of mmsegmentation) and the class order."
        )
        return LogMatch(0.8, (line.evidence,), cause, fix)
    others = f"{', '.join(zeros[:4])} {'have' if len(zeros) > 1 else 'has'}"
    cause = f"Everything is answered as {found[0]} ({known[found[0]]:g}); {others} an overlap of 0."
    return LogMatch(0.85, (line.evidence,), cause, _fix(len(scores)))


def _several(scores: Mapping[str, float]) -> bool:
    """Whether a list of overlaps holds more than one class that was found."""
    return sum(math.isfinite(value) and value > 0 for value in scores.values()) > 1


def _fix(classes: int) -> Fix:
    return Fix(
        f"Check the masks first: `np.unique(mask)` has to give 0 to {max(1, classes - 1)}, not 0 and 255. If they are "
        "right the other classes are too rare: add a Dice or focal loss, weight them (`pos_weight`, `weight=`), and "
        "take crops that hold them."
    )


def _balance(name: str) -> Fix:
    return Fix(
        f"Count the classes in training: if {name} outnumbers the others by far, weight the loss (`weight=`) or draw "
        "evenly (`WeightedRandomSampler`). If not, print the outputs of one batch: equal rows mean that nothing was "
        "learned, so lower the learning rate and check labels and normalisation."
    )


def _tables(log: Log) -> Iterator[tuple[LogLine, dict[str, float]]]:
    """Drawn tables with one row for each class."""
    by_number = {line.number: line for line in log.lines}
    scores: dict[str, float] = {}
    last = -10
    for record in log.metrics:
        named = {m["name"]: value for key, value in record.values.items() if (m := _OF_CLASS.match(key))}
        if len(named) > 1:
            # One line with all classes, as the summary behind a table.
            continue
        if record.line > last + 2 and len(scores) > 1:
            yield by_number[last], scores
        if record.line > last + 2 or not named:
            scores = {}
        scores.update(named)
        last = record.line if named else last
    if len(scores) > 1 and last in by_number:
        yield by_number[last], scores


def _plain_tables(log: Log) -> Iterator[tuple[LogLine, dict[str, float]]]:
    """Lines of a name and a number that follow a line which speaks of overlap."""
    scores: dict[str, float] = {}
    told = False
    for line, following in zip(log.lines, (*log.lines[1:], None), strict=True):
        row = _ROW.match(line.text)
        classed = row is not None and not _SUMMARY.search(row["name"].strip())
        if row is not None and classed and told:
            scores[row["name"].strip()] = float(row["value"])
        elif not classed:
            told = re.search(r"\biou\b|miou|\bdice\b|jaccard", line.text, re.IGNORECASE) is not None
        if scores and (following is None or _ROW.match(following.text) is None):
            if len(scores) > 1:
                yield line, scores
            scores, told = {}, False


def _lists(log: Log) -> Iterator[tuple[LogLine, dict[str, float]]]:
    """Overlaps by class between brackets: `IoU: [0.97 0. 0.]`."""
    for line in log.lines:
        found = _LIST.search(line.text)
        if found is not None:
            parts = re.findall(r"nan|\d+\.?\d*(?:e-?\d+)?", found["values"].lower())
            if len(parts) > 1:
                yield line, {f"class {number}": float(part) for number, part in enumerate(parts)}


def _by_report(log: Log) -> LogMatch | None:
    """A classification report in which one class takes everything."""
    rows = [
        (line, found)
        for line in log.lines
        if (found := _REPORT.match(line.text)) and not _AVERAGE.search(found["name"])
    ]
    block = [row for row in rows if row[0].number > rows[-1][0].number - len(rows)] if rows else []
    held = [(line, found) for line, found in block if int(found["n"])]
    taken = [(line, found) for line, found in held if float(found["r"]) > 0]
    if len(held) < 2 or len(taken) != 1 or float(taken[0][1]["r"]) < 0.999:
        return None
    line, found = taken[0]
    name, total = found["name"].strip(), sum(int(row["n"]) for _, row in held)
    cause = f"All {total} samples are answered as {name}: its recall is 1, that of the other {len(held) - 1} classes 0."
    return LogMatch(0.88, (line.evidence,), cause, _balance(name))


def _by_matrix(log: Log) -> LogMatch | None:
    """A confusion matrix with one column."""
    rows: list[list[int]] = []
    for line in log.lines:
        found = _MATRIX.match(line.text)
        rows = [*rows, [int(part) for part in re.findall(r"\d+", found["row"])]] if found else []
        if found is None or not line.text.rstrip(" ,").endswith("]]") or len({len(row) for row in rows}) != 1:
            continue
        columns = [sum(column) for column in zip(*rows, strict=True)]
        if len(rows) == len(columns) > 1 and sum(map(bool, columns)) == 1 and sum(any(row) for row in rows) > 1:
            best = next(number for number, count in enumerate(columns) if count)
            cause = f"Every one of {sum(columns)} samples is answered as class {best}."
            return LogMatch(0.85, (line.evidence,), cause, _balance(f"class {best}"))
    return None


def _by_course(log: Log) -> LogMatch | None:
    """An overlap that is 0, or the same, in every report."""
    reports = [(line, float(found["value"])) for line in log.lines for found in _OVERLAP.finditer(line.text)]
    if not reports or len(_told_loss(log)) > 3 * len(reports) + 50:
        return None
    values = [value for _, value in reports]
    lines = list(dict.fromkeys(line.number for line, _ in reports))
    evidence = tuple(line.evidence for line, _ in (reports[0], reports[-1])[: len(lines)])
    if max(values) <= _SOFT:
        smoothed = any(values)
        if len(lines) < 3 and not smoothed:
            return None
        cause = f"The overlap is {values[-1]:g} in {'every report' if len(lines) > 1 else 'the only report'}" + (
            ", which is the smoothing term alone: nothing is answered as foreground, or nothing is labelled so."
            if smoothed
            else f" ({len(lines)} of them): nothing is answered as foreground, or nothing is labelled so."
        )
        return LogMatch(0.62 if len(lines) < 3 else 0.72 if len(lines) < 5 else 0.85, evidence, cause, _fix(2))
    tail = values[-5:]
    same = len(tail) == 5 and len(set(tail)) == 1 and len(repr(tail[0])) >= 6 and len(lines) >= 5
    if same and (tail[0] <= 0.5 or 1 < tail[0] <= 50):
        cause = f"The overlap is {tail[0]:g} in the last {len(tail)} reports, to the last digit: one answer everywhere."
        return LogMatch(0.7, evidence, cause, _fix(2))
    return None


def _told_loss(log: Log) -> Sequence[object]:
    """Reports of a loss that is called after overlap, as detectors have."""
    return log.series(r"(?:iou|dice)_?loss|loss_?(?:iou|dice)")


# -- during a run ------------------------------------------------------------------------------------------------------

_NAMES = re.compile(r"(?:^|[_/])(?:f1|iou|dice|jaccard|recall)(?:$|[_/])", re.IGNORECASE)
_WINDOW, _SETTLED = 600, 1500


def _start() -> Callable[[Step], Verdict | None]:
    seen: dict[str, deque[float]] = {}
    told = False

    def observe(step: Step) -> Verdict | None:
        nonlocal told
        for name, value in step.logs.items():
            if _NAMES.search(name) and math.isfinite(value):
                seen.setdefault(name, deque(maxlen=_WINDOW)).append(value)
        if told or step.step < _SETTLED or step.epoch < 1:
            return None
        empty = [name for name, values in seen.items() if len(values) == _WINDOW and max(values) <= _SOFT]
        if not empty:
            return None
        told = True
        message = (
            f"{', '.join(empty)} has been 0 for {_WINDOW} steps (step {step.step} of epoch {step.epoch}): nothing is "
            "answered as foreground"
        )
        fix = Fix("Check the values of the masks, then weight the foreground or add a Dice loss, and crop where it is.")
        return Verdict(Action.CONTINUE, Finding("single-class-prediction", Level.WARNING, message, fix=fix))

    return observe


# -- source ------------------------------------------------------------------------------------------------------------


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for output in one_class_outputs(file):
        if output.use != "choice":
            continue
        place = Location(file.path, output.maker.span.start_line, output.maker.span.start_column + 1)
        always = "0" if output.call.method == "argmax" else "1.0"
        message = f"`{output.call.method}` over the classes of a network with one output is {always} everywhere"
        fix = Fix(
            "Take `torch.sigmoid(logits) > 0.5`, or give the network one output for each class, background counted."
        )
        yield Hit(message, output.call.span, fix, (Evidence(output.maker.code[:120], place),))


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """Training data whose labels all say the same."""
    labelled = [folder for folder in audited(plan) if all(sample.label is not None for sample in folder.samples)]
    labelled = [folder for folder in labelled if folder.split not in ("val", "test")]
    if not labelled:
        raise NotApplicable("no data folder to learn from labels whole images")
    for folder in labelled:
        names = {sample.label for sample in folder.samples}
        if len(names) == 1 and len(folder.samples) > 1:
            yield Finding(
                "single-class-prediction",
                Level.ERROR,
                f"{folder.key}: all {len(folder.samples)} samples are of one class, {names.pop()}: a model can only "
                "learn to answer it",
                setting_place(plan, folder.key),
                fix=Fix(f"Point {folder.key} at the folder above, which holds one folder for each class."),
            )


RULE = Rule(
    slug="single-class-prediction",
    family="tasks",
    title="The model answers the same class everywhere",
    level=Level.WARNING,
    log=LogFacet(("iou", "dice", "jaccard", "recall", "[["), _examine_log),
    source=SourceFacet(("argmax", "softmax"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=DuringFacet(_start),
    module=__name__,
)
