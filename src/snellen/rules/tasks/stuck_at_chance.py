"""The loss stays where guessing leaves it, and the accuracy at one in the number of classes.

What happens
------------
Nothing is raised. The loss of a classifier goes to the logarithm of the number of classes and stays there, 0.6931 for
two, 2.3026 for ten, 4.6052 for a hundred, 6.9078 for a thousand; the accuracy stays at 50%, 10%, 1% or 0.1%, epoch
after epoch. Or a loss repeats itself to the last digit.

Why
---
A constant output can do no better. In order of frequency: the learning rate is so high that all units died in the
first steps (deep networks without normalisation, Adam at more than 1e-3), so that only the last bias is left; labels
do not belong to their images (shuffled apart, sorted in another order, all equal); a softmax before a loss that
takes logits; parameters that the optimizer does not hold, that are frozen, or that no gradient reaches; inputs that
are constant (divided by 255 twice, all black after augmentation).

How to confirm
--------------
Train on one batch of eight images, without augmentation: a network that can learn drives its loss to 0 within a
hundred steps. Print `model(images).std(dim=0)`: zero means that every image gets the same answer. Print the gradient
norm of each parameter after `backward()`.

Fix
---
First the learning rate: a tenth of it, with a warm-up. Then what the batch of eight shows: labels next to their
images; logits, not probabilities, into `CrossEntropyLoss`; every trainable parameter in the optimizer; normalisation
in deep networks, or pretrained weights.

When it is something else
-------------------------
In the first few hundred steps every healthy run stands there: a run is judged after its third pass and 100 steps after
its learning rate has stopped rising, by the last 2,000 images or more. A discriminator at 0.69 is in balance with its
generator. A segmentation that answers one class everywhere has a high accuracy and no overlap:
`single-class-prediction`. A loss of exactly 0 or NaN is `nan-loss` or an output of one class only.

Sources
-------
- Karpathy, A Recipe for Training Neural Networks (verify the loss at the start, overfit one batch):
  https://karpathy.github.io/2019/04/25/recipe/
- `torch.nn.CrossEntropyLoss`: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
- Ioffe, Szegedy, Batch Normalization, ICML 2015: https://arxiv.org/abs/1502.03167
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from snellen.core.code.outputs import one_class_outputs
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogMatch, MetricRecord
from snellen.core.rule import DuringFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.shares import wilson
from snellen.core.source import Hit, SourceFile
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]

Reports = Sequence[tuple[MetricRecord, float]]

_LOSS = (
    r"^(?:train(?:ing)?[_/ .-]?)?(?:(?:avg|average|running|total|epoch|batch|mean)[_/ .-]?)?"
    r"(?:loss|ce|cross_?entropy|nll)(?:[_/ .-]?(?:cls|ce|epoch|step|avg|train|value))?$"
)
_ACCURACY = (
    r"^(?:(?:train(?:ing)?|val(?:id(?:ation)?)?|test|eval)[_/ .-]?)?(?:acc(?:uracy)?(?:[_@/-]?(?:top)?-?1)?"
    r"|top-?1(?:[_/-]?acc(?:uracy)?)?|prec@1)(?:[_/ .-]?(?:epoch|step|train|val|avg))?$|^(?:train|test|val)$"
)
_OTHER_LOSS = re.compile(
    r"^(?:d|g|gen|disc|adv)_?loss|loss_?(?:d|g|gen|disc|adv)\b|\berr[dg]\b|discriminator|generator", re.IGNORECASE
)
_EPOCH_LINE = r"^\W{0,6}epoch\W{0,4}(?P<epoch>\d{1,9})\s*/\s*\d+"
_MOST_CLASSES, _SURE_CLASSES = 1000, 50


def _examine_log(log: Log) -> LogMatch | None:
    losses = _told_apart([(r, v) for r, v in log.series(_LOSS) if r.split in ("", "train")])
    accuracies = [(r, v) for r, v in log.series(_ACCURACY) if v >= 0]
    unsteady = any(not math.isfinite(value) for _, value in losses)
    if unsteady or any(_OTHER_LOSS.search(name) for record in log.metrics for name in record.values):
        return None
    for judge in (_constant_at_chance, _at_chance, _zero_accuracy, _constant, _never_moved):
        found = judge(log, losses, accuracies)
        if found is not None:
            # After a failure of its own the log is about that one.
            return found if not log.exceptions else None
    return None


def _told_apart(reports: Reports) -> list[tuple[MetricRecord, float]]:
    """One report for each epoch and step: every rank of a distributed run prints its own."""
    seen: set[tuple[int | None, int | None]] = set()
    kept = []
    for record, value in reports:
        place = (record.epoch, record.step)
        if place not in seen or place == (None, None):
            seen.add(place)
            kept.append((record, value))
    return kept


def _classes_of_loss(value: float) -> int | None:
    """The number of classes whose logarithm a loss is, as far as it was printed: three digits at the least."""
    decimals = len(repr(value).partition(".")[2])
    if decimals < 3 or not math.log(2) - 0.01 < value < math.log(_MOST_CLASSES) + 0.001:
        return None
    classes = round(math.exp(value))
    return classes if classes >= 2 and abs(value - math.log(classes)) <= max(2e-4, 0.6 * 10.0**-decimals) else None


def _share(value: float, classes: int) -> float | None:
    """An accuracy as a share, when it is near one in so many classes; percentages are read as well."""
    for share in (value, value / 100):
        if 0.7 / classes <= share <= (1.4 if classes > 2 else 1.12) / classes:
            return share
    return None


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _constant_at_chance(log: Log, losses: Reports, accuracies: Reports) -> LogMatch | None:
    """The last reports all show the logarithm of the same number of classes."""
    tail: list[tuple[MetricRecord, float]] = []
    for record, value in reversed(losses):
        if tail and _spread([value, *(v for _, v in tail)]) > 1e-4:
            break
        tail.insert(0, (record, value))
    classes = _classes_of_loss(tail[-1][1]) if len(tail) >= 3 else None
    epochs = {record.epoch for record, _ in tail}
    if classes is None or not (len(epochs) >= 2 or len(tail) >= 8):
        return None
    supported = any(_share(value, classes) is not None for _, value in accuracies[-2:])
    if classes > _SURE_CLASSES and not supported:
        return None
    return _match(log, 0.93, classes, tail, accuracies, f"{len(tail)} reports in a row")


def _at_chance(log: Log, losses: Reports, accuracies: Reports) -> LogMatch | None:
    """The accuracy stays at one in C, and the loss is not below the logarithm of C."""
    last = accuracies[-1][1] if accuracies else 0.0
    told = [round(math.exp(value)) for _, value in losses[-1:] if math.log(1.9) < value < math.log(_MOST_CLASSES + 1)]
    classes = next((c for c in (*told, *_candidates(last)) if c > 1 and all(_share(v, c) for _, v in accuracies)), None)
    moments = len(_moments(accuracies))
    if classes is None or len(accuracies) < (4 if classes == 2 else 3) or moments < 2:
        return None
    floor = 0.985 * math.log(classes)
    if any(value < floor for _, value in losses[len(losses) // 2 :]) or not losses:
        return None
    exact = _spread([value for _, value in accuracies[-3:]]) <= 1e-3 * max(last, 1e-9)
    late = [value for _, value in losses[len(losses) // 2 :]]
    near = all(value <= 1.08 * math.log(classes) for value in late)
    if not exact and (moments < 5 or not near):
        return None
    return _match(log, 0.9 if exact and near else 0.75, classes, losses, accuracies, f"{len(accuracies)} measurements")


def _candidates(value: float) -> Iterator[int]:
    """Numbers of classes that an accuracy may be one in."""
    for share in (value, value / 100):
        if 1 / _MOST_CLASSES - 1e-9 <= share <= 0.56:
            classes = round(1 / share)
            if classes >= 2 and abs(share * classes - 1) <= (0.12 if classes == 2 else 0.3):
                yield classes


def _moments(reports: Reports) -> set[tuple[int | None, int]]:
    """Different points in time: epochs where they are told, else lines."""
    return {(record.epoch, record.line if record.epoch is None else 0) for record, _ in reports}


def _zero_accuracy(log: Log, losses: Reports, accuracies: Reports) -> LogMatch | None:
    """Deep into training the accuracy is 0 on every split."""
    reached = [int(found["epoch"]) for line in log.lines if (found := re.search(_EPOCH_LINE, line.text, re.IGNORECASE))]
    reached += [record.epoch for record, _ in (*losses, *accuracies) if record.epoch is not None]
    splits = {record.split for record, _ in accuracies}
    if any(value for _, value in accuracies) or not {"train", "val"} <= splits or max(reached, default=0) < 5:
        return None
    evidence = _evidence(log, (*losses[-1:], *accuracies[-2:]))
    cause = f"After {max(reached)} epochs not one answer is right, in training and in validation: worse than guessing."
    fix = Fix(
        "Compare labels and predictions of one batch by eye: classes outside the network's range, a mask that counts "
        "nothing or labels of another order give exactly 0. Then train on one batch of eight images to a loss of 0."
    )
    return LogMatch(0.65, evidence, cause, fix)


def _constant(log: Log, losses: Reports, accuracies: Reports) -> LogMatch | None:
    """The loss repeats itself to the last digit, whatever its value."""
    tail = losses[-5:]
    values = [value for _, value in tail]
    digits = len(repr(values[0]).replace(".", "").strip("0")) if values else 0
    # A run that has converged may repeat four digits; one that is right half of the time has not converged.
    poor = bool(accuracies) and (accuracies[-1][1] <= 0.5 or 1 < accuracies[-1][1] <= 50)
    if len(tail) < 5 or digits < (4 if poor else 5) or _spread(values) > 1e-7 * abs(values[0]):
        return None
    if len({(record.epoch, record.step) for record, _ in tail}) < 5 or len({record.epoch for record, _ in tail}) < 3:
        return None
    cause = f"The loss is {values[0]:g} in {len(tail)} reports in a row, to the last digit: no weight changes."
    fix = Fix(
        "Look for what keeps the weights as they are: a learning rate of 0, an optimizer made for other parameters, a "
        "loss that was detached or computed under `no_grad`, gradients that are all zero after `backward()`."
    )
    return LogMatch(0.78, _evidence(log, (tail[0], tail[-1], *accuracies[-1:])), cause, fix)


def _never_moved(log: Log, losses: Reports, accuracies: Reports) -> LogMatch | None:
    """From the first epoch on the accuracy is the same to the last digit, and the loss where it began."""
    first = losses[0][0].epoch if losses else None
    values, rights = [value for _, value in losses], {value for _, value in accuracies}
    if len(losses) < 5 or len(accuracies) < 5 or len(rights) != 1 or first is None or first > 2 or min(values) <= 0:
        return None
    (right,) = rights
    if (
        _spread(values) > 0.015 * min(values)
        or len({record.epoch for record, _ in losses}) < 5
        or right in (0.0, 1.0, 100.0)
    ):
        return None
    cause = (
        f"The accuracy has been {right:g} in {len(accuracies)} reports and the loss {values[0]:g} to {values[-1]:g} "
        "since the first epoch: every input gets the same answer, the most frequent class."
    )
    return LogMatch(0.8, _evidence(log, (losses[0], losses[-1], accuracies[-1])), cause, _fix(_rate(log)))


def _match(log: Log, score: float, classes: int, losses: Reports, accuracies: Reports, length: str) -> LogMatch:
    shares = [share for _, value in accuracies[-1:] if (share := _share(value, classes)) is not None]
    right = f" and the accuracy at {shares[0]:.4g} (1/{classes} = {1 / classes:.4g})" if shares else ""
    level = f"{losses[-1][1]:g} (ln {classes} = {math.log(classes):.4f})"
    cause = f"The loss stays at {level}{right} for {length}: that is guessing."
    evidence = _evidence(log, (*losses[:1], *losses[-1:], *accuracies[-1:]))
    return LogMatch(score, evidence, cause, _fix(_rate(log)))


def _rate(log: Log) -> float | None:
    rates = [value for _, value in log.series(r"^(?:lr|learning_?rate|base_lr|lr[_/-]\w+)$") if value > 0]
    return max(rates) if rates else None


def _fix(rate: float | None) -> Fix:
    first = (
        f"Take a tenth of the learning rate ({rate / 10:g} for {rate:g})"
        if rate
        else "Take a tenth of the learning rate"
    )
    return Fix(
        f"{first} with a warm-up, and train on one batch of eight images: its loss has to go to 0. If it does not, "
        "check that labels belong to their images, that logits and no softmax go into the loss, and that gradients are "
        "not zero."
    )


def _evidence(log: Log, reports: Reports) -> tuple[Evidence, ...]:
    numbers = list(dict.fromkeys(record.line for record, _ in reports))
    by_number = {line.number: line for line in log.lines}
    return tuple(by_number[number].evidence for number in numbers if number in by_number)


# -- during a run ------------------------------------------------------------------------------------------------------

_WINDOW, _DEAD = 300, 50


_SEEN, _HITS_OF_CHANCE = 2000, 30
"""Images and expected hits in the window of accuracies: then 99% are within 2 points of the truth at 10 classes."""
_HARDLY = 1e-6
"""With Adam a weight moves by about the learning rate in a step: in 10,000 of these by 0.01 at most."""
_EPOCHS, _STEPS_AFTER_RISE = 3, 100
"""A healthy run may stand at chance for its warm-up and the first passes; nothing is said before."""


def _start() -> Callable[[Step], Verdict | None]:
    by_loss, by_accuracy = _loss_watcher(), _accuracy_watcher()
    told, peak = False, 0.0

    def observe(step: Step) -> Verdict | None:
        nonlocal told, peak
        # What the schedule has come down to at this step is no setting, and says nothing about the one that is.
        peak = max(peak, step.lr)
        step = replace(step, lr=peak)
        found = [verdict for look in (by_loss, by_accuracy) if (verdict := look(step)) is not None]
        if told or not found:
            return None
        told = True
        return found[0]

    return observe


def _loss_watcher() -> Callable[[Step], Verdict | None]:
    losses: deque[float] = deque(maxlen=_WINDOW)
    dead = 0

    def observe(step: Step) -> Verdict | None:
        nonlocal dead
        if not step.finite:
            losses.clear()
            return None
        losses.append(step.loss)
        dead = dead + 1 if step.gradient_norm == 0.0 and step.lr > 0 else 0
        if dead >= _DEAD:
            return _warn(step, f"the gradient has been exactly 0 for {dead} steps: nothing is learned")
        if len(losses) < _WINDOW or step.step < 2 * _WINDOW or _spread(losses) > 2e-3:
            return None
        mean = math.fsum(losses) / len(losses)
        classes = round(math.exp(mean)) if mean < math.log(_SURE_CLASSES + 0.5) else 0
        if classes < 2 or abs(mean - math.log(classes)) > 1e-3:
            return None
        return _warn(step, f"the loss has been {mean:.4f} = ln {classes} for {len(losses)} steps: that is guessing")

    return observe


def _accuracy_watcher() -> Callable[[Step], Verdict | None]:
    """Of tasks that log `accuracy`, and as `chance` the accuracy of always giving the most frequent answer."""
    hits: deque[tuple[float, int]] = deque()
    right, seen, highest, since_rise = 0.0, 0, 0.0, 0

    def observe(step: Step) -> Verdict | None:
        nonlocal right, seen, highest, since_rise
        chance, accuracy = step.logs.get("chance"), step.logs.get("accuracy")
        if chance is None or accuracy is None or not 0 < chance < 1 or not math.isfinite(accuracy):
            return None
        since_rise = 0 if step.lr > highest * (1 + 1e-9) else since_rise + 1
        highest = max(highest, step.lr)
        hits.append((accuracy * len(step.files), len(step.files)))
        right, seen = right + hits[-1][0], seen + hits[-1][1]
        enough = max(_SEEN, _HITS_OF_CHANCE / chance)
        while hits and seen - hits[0][1] >= enough:
            gone = hits.popleft()
            right, seen = right - gone[0], seen - gone[1]
        if seen < enough or step.epoch < _EPOCHS or since_rise < _STEPS_AFTER_RISE:
            return None
        low, high = wilson(max(right, 0.0), seen, deviations=2.58)
        if low > chance:
            return None
        return _warn(
            step,
            f"accuracy {right / seen:.3f} (99%: {low:.3f} to {high:.3f}) on the last {seen} training images is no more "
            f"than guessing gets, {chance:.3f}",
        )

    return observe


def _warn(step: Step, what: str) -> Verdict:
    message = f"{what} (step {step.step} of epoch {step.epoch}, learning rate up to {step.lr:g})"
    fix = Fix(
        f"Start again with a tenth of the learning rate, optim.lr: {step.lr / 10:.1e}, and a longer warm-up."
        if step.lr >= _HARDLY
        else "Start again with a larger learning rate, such as optim.lr: 1e-3: with this one weights hardly move.",
        FixSafety.UNSAFE,
        "the cause may be in the labels or in the network",
    )
    return Verdict(Action.CONTINUE, Finding("stuck-at-chance", Level.WARNING, message, fix=fix))


# -- source ------------------------------------------------------------------------------------------------------------


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for output in one_class_outputs(file):
        if output.use != "loss":
            continue
        place = Location(file.path, output.maker.span.start_line, output.maker.span.start_column + 1)
        message = "cross entropy over one class is 0 whatever the network says: nothing is learned"
        fix = Fix(
            "Use `BCEWithLogitsLoss` with float targets for one output, or give the network one output for each class, "
            "the background counted."
        )
        yield Hit(message, output.call.span, fix, (Evidence(output.maker.code[:120], place),))


RULE = Rule(
    slug="stuck-at-chance",
    family="tasks",
    title="The loss stays where guessing leaves it",
    level=Level.WARNING,
    log=LogFacet(("loss", "acc", "top1", "prec@1"), _examine_log),
    source=SourceFacet(("CrossEntropyLoss", "cross_entropy", "nll_loss", "NLLLoss"), _examine_source),
    before=absent("whether a run learns shows in its losses only"),
    during=DuringFacet(_start),
    module=__name__,
)
