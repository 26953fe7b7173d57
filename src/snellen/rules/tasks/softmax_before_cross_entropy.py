"""The output goes through softmax before a cross-entropy loss that applies it once more.

What happens
------------
The model learns, but slowly, and the loss stays high although the accuracy is good: with ten classes it ends near 1.46,
with two near 0.31, and never comes down to zero. With many classes it hardly moves at all.

Why
---
`nn.CrossEntropyLoss` expects logits and applies `log_softmax` itself. Probabilities lie between 0 and 1; softmax over
them can at best give e / (e + K - 1) to the right one of K classes, and gradients become tiny as soon as a probability
is near 0 or 1. `nn.NLLLoss`, in turn, expects logarithms: given probabilities it returns their negative.

How to confirm
--------------
`model(images).sum(dim=1)` is 1 for every image although the loss expects logits. Or compare the lowest loss that a
perfect answer gets: `F.cross_entropy(torch.eye(10), torch.arange(10))` is 1.4612.

Fix
---
Return logits from the model and give them to the loss; apply softmax only where probabilities are shown or thresholded.
`log_softmax` belongs before `nn.NLLLoss`.

When it is something else
-------------------------
A loss near log(K), 2.30 with ten classes, together with an accuracy of 1/K is chance: see `stuck-at-chance`. Label
smoothing keeps the loss above zero as well, by less. Sigmoid before a loss with logits is
`sigmoid-before-bce-with-logits`.

Sources
-------
- `CrossEntropyLoss`, on unnormalised logits:
  https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
- `NLLLoss`: https://docs.pytorch.org/docs/stable/generated/torch.nn.NLLLoss.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from snellen.core.code.networks import Ending, ending_of, fix_of_ending
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, SourceFile

__all__ = ["RULE"]

_CROSS_ENTROPY = frozenset(
    {"torch.nn.CrossEntropyLoss.forward", "torch.nn.functional.cross_entropy"}
    | {f"timm.loss.{name}.forward" for name in ("LabelSmoothingCrossEntropy", "SoftTargetCrossEntropy")}
    | {"segmentation_models_pytorch.losses.SoftCrossEntropyLoss.forward"}
)
_LIKELIHOOD = frozenset({"torch.nn.NLLLoss.forward", "torch.nn.functional.nll_loss", "torch.nn.NLLLoss2d.forward"})


def _examine(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        if call.name not in _CROSS_ENTROPY and call.name not in _LIKELIHOOD:
            continue
        given = call.argument(0, "input")
        ending = ending_of(file, given.origin) if given is not None else None
        if given is not None and ending is not None and ending.kind == "softmax":
            yield _hit(file, call, given, ending)


def _hit(file: SourceFile, call: CallSite, given: Argument, ending: Ending) -> Hit:
    loss = call.name.removesuffix(".forward").rpartition(".")[2]
    if call.name in _LIKELIHOOD:
        message = f"`{given.code}` ends with softmax, but `{loss}` expects logarithms: it returns minus the probability"
        return Hit(message, given.span, _logarithm(ending), (ending.evidence,))
    message = f"`{given.code}` has gone through softmax, and `{loss}` applies it again: it expects logits"
    return Hit(message, given.span, fix_of_ending(file, call, given, ending), (ending.evidence,))


def _logarithm(ending: Ending) -> Fix:
    text = "Use `log_softmax` in place of `softmax`, or give logits to a cross-entropy loss."
    reason = "what the model returns becomes logarithms"
    if ending.layer is not None and ending.layer.code.count("Softmax") == 1:
        edit = ending.file.edit(ending.layer.span, ending.layer.code.replace("Softmax", "LogSoftmax"))
        return Fix(text, FixSafety.UNSAFE, reason, (edit,))
    if ending.layer is None and ending.call.code.count("softmax(") == 1 and "self." not in ending.call.code:
        edit = ending.file.edit(ending.call.span, ending.call.code.replace("softmax(", "log_softmax("))
        return Fix(text, FixSafety.UNSAFE, reason, (edit,))
    return Fix(text)


_KEY = re.compile(
    r"(?P<split>(?:train(?:ing)?|val(?:id(?:ation)?)?|test|eval|epoch|avg|mean)?[ _/.-]*)"
    r"(?P<what>(?:ce|cls|xent)?[ _]?loss|acc(?:uracy)?(?:@?1)?|top[-_]?1)",
    re.IGNORECASE,
)
_GOOD = 0.85
"""Accuracy from which on probabilities are near 0 and 1, so that loss and accuracy hang together."""
_SPREAD = 0.02
_FEWEST = 4
_MOST_CLASSES = 60


def _examine_log(log: Log) -> LogMatch | None:
    """A loss that is 1 minus the accuracy above the lowest value that softmax applied twice can reach."""
    for split, pairs in _pairs(log).items():
        good = _settled([pair for pair in pairs if pair[2] >= _GOOD])
        if len(good) < _FEWEST:
            continue
        accuracies = [accuracy for _, _, accuracy in good]
        mean = sum(loss + accuracy for _, loss, accuracy in good) / len(good)
        classes = round(math.exp(mean) - math.e + 1)
        fits = 3 <= classes <= _MOST_CLASSES and abs(mean - math.log(math.e + classes - 1)) <= _SPREAD
        if not fits or max(accuracies) - min(accuracies) < 0.005:
            continue
        floor = math.log(math.e + classes - 1) - 1
        number = str(classes) if classes <= 12 else f"about {classes}"
        cause = (
            f"The {split}loss stays at {good[-1][1]:.3f} with an accuracy of {good[-1][2]:.3f}: with {number} classes"
            f" {floor:.3f} is the lowest that cross-entropy can reach when its input has gone through softmax already."
        )
        fix = Fix("Remove the softmax at the end of the model: `CrossEntropyLoss` expects logits and applies its own.")
        by_number = {line.number: line for line in log.lines}
        evidence = tuple(by_number[line].evidence for line, _, _ in (good[0], good[-1]) if line in by_number)
        return LogMatch(0.85, evidence, cause, fix)
    return None


def _settled(pairs: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """The last reports over which the sum of loss and accuracy stays the same."""
    kept: list[tuple[int, float, float]] = []
    for pair in reversed(pairs):
        sums = [loss + accuracy for _, loss, accuracy in (*kept, pair)]
        if max(sums) - min(sums) > _SPREAD:
            break
        kept.append(pair)
    return kept[::-1]


def _pairs(log: Log) -> dict[str, list[tuple[int, float, float]]]:
    """Line, loss and accuracy that were reported together, by split."""
    found: dict[str, list[tuple[int, float, float]]] = {}
    for record in log.metrics:
        values: dict[str, dict[str, float]] = {}
        for key, value in record.values.items():
            match = _KEY.fullmatch(key.strip())
            if match is None or not math.isfinite(value):
                continue
            kind = "loss" if "loss" in match["what"].lower() else "accuracy"
            values.setdefault(match["split"].strip(" _/.-").lower(), {}).setdefault(kind, value)
        for split, pair in values.items():
            if len(pair) == 2:
                accuracy = pair["accuracy"] / 100 if pair["accuracy"] > 1 else pair["accuracy"]
                name = f"{split} " if split else ""
                found.setdefault(name, []).append((record.line, pair["loss"], accuracy))
    return found


RULE = Rule(
    slug="softmax-before-cross-entropy",
    family="tasks",
    title="Softmax is applied before a loss that applies it itself",
    level=Level.ERROR,
    log=LogFacet(("acc", "top1", "top-1", "top_1"), _examine_log),
    source=SourceFacet(("oftmax",), _examine),
    before=absent("the losses of the tasks get logits from the heads"),
    during=absent("the loss of a step alone does not tell how good the answers are"),
    module=__name__,
)
