"""The loss is NaN or infinite.

What happens
------------
The loss in the log turns `nan` or `inf`, or the trainer stops itself: `Loss is nan, stopping training`. From the
first optimiser step with a NaN gradient on, all weights are NaN and nothing that follows can be used.

Why
---
In order of frequency: the learning rate is too high for this model, batch size or precision (often after a warm-up
that is too short); float16 overflowed in the forward pass (attention logits, variances, squared errors: its largest
number is 65504); a division by zero, a `log(0)` or a `sqrt(0)` whose gradient is infinite; a batch without any
valid target, so that a mean over nothing is taken; labels or images that contain NaN; pretrained weights that were
not loaded where the recipe counts on them.

How to confirm
--------------
`torch.autograd.set_detect_anomaly(True)` names the operation whose gradient became NaN first. Check the inputs of
that very batch with `torch.isfinite(x).all()`. Run the batch again in float32: if it is finite there, it is an
overflow.

Fix
---
Find the first bad step, not the first one you noticed. Overflow: bfloat16, or float32 around the operation that
overflows. Learning rate: divide by three to ten, warm up longer, clip the gradient norm to 1. Mathematics: add an
epsilon inside `log`, `sqrt` and the denominator. Go back to a checkpoint from before the first NaN; later ones are
lost.

When it is something else
-------------------------
A validation metric that is `nan` because a class has no sample in the split, or a printed average over no batches,
says nothing about training. An `inf` gradient norm during the first steps of float16 training is the loss scaler
looking for its scale: it skips those steps. `value cannot be converted to type at::Half` is `half-overflow`.

Sources
-------
- Anomaly detection: https://docs.pytorch.org/docs/stable/autograd.html#anomaly-detection
- Micikevicius et al., Mixed Precision Training, ICLR 2018: https://arxiv.org/abs/1710.03740
- Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013 (gradient clipping):
  https://arxiv.org/abs/1211.5063
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogLine, LogMatch, MetricRecord
from snellen.core.rule import DuringFacet, LogFacet, Rule, absent
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]


_STATED = re.compile(
    r"\bloss (?:is|was|became|turned|=) ?(?:nan|inf|not finite|infinite)|non-?finite loss"
    r"|nan or inf found in input tensor|minimum loss scale reached|found invalid values:\s*tensor\(\[+nan"
    r"|^\s*\d+/\d+\s.*(?:\bnan\b[\s,|]+){2,}\bnan\b"
    r"|returned nan values in its \d+th output|\bnan (?:in )?loss\b|\bloss (?:contains|has) (?:nan|inf)",
    re.IGNORECASE,
)
_LOSS = re.compile(r"loss|\bcost\b|\bnll\b|objective", re.IGNORECASE)
_OTHER = re.compile(r"^(?:val|valid|validation|test|eval)[_/.-]|scale|weight|coef", re.IGNORECASE)
_HALF = re.compile(r"\b(?:fp16|float16|half precision|16-mixed|amp)\b", re.IGNORECASE)


def _examine(log: Log) -> LogMatch | None:
    bad = _first_bad(log)
    stated = log.search(_STATED.pattern) or _in_message(log)
    if bad is None and stated is None:
        return None
    by_number = {line.number: line for line in log.lines}
    before = _last_finite(log, bad) if bad is not None else None
    numbers = (before[0] if before else None, bad.line if bad else None)
    evidence = [by_number[number].evidence for number in numbers if number in by_number]
    if stated is not None and (bad is None or stated.number != bad.line):
        evidence.append(stated.evidence)
    half = log.search(_HALF.pattern) is not None
    return LogMatch(0.9, tuple(evidence), _cause(log, bad, before), _advice(log, bad, before, half=half))


def _in_message(log: Log) -> LogLine | None:
    """The line of an exception whose message, over several lines, speaks of NaN."""
    numbers = {error.line for error in log.exceptions if _STATED.search(error.message)}
    return next((line for line in log.lines if line.number in numbers), None)


def _losses(record: MetricRecord) -> dict[str, float]:
    return {key: value for key, value in record.values.items() if _LOSS.search(key) and not _OTHER.search(key)}


def _first_bad(log: Log) -> MetricRecord | None:
    return next((r for r in log.metrics if any(not math.isfinite(value) for value in _losses(r).values())), None)


def _last_finite(log: Log, bad: MetricRecord) -> tuple[int, float] | None:
    """Line and value of the same loss in the record before the first bad one."""
    key = next(key for key, value in _losses(bad).items() if not math.isfinite(value))
    key = "loss" if not math.isfinite(bad.values.get("loss", 0.0)) else key
    earlier = [r for r in log.metrics if r.line < bad.line and math.isfinite(r.values.get(key, math.nan))]
    return (earlier[-1].line, earlier[-1].values[key]) if earlier else None


def _grew(log: Log, before: tuple[int, float] | None) -> bool:
    """Whether the loss rose to several times its lowest value before it was lost."""
    if before is None:
        return False
    seen = [value for r in log.metrics if r.line <= before[0] for value in _losses(r).values() if math.isfinite(value)]
    return len(seen) >= 2 and before[1] > 3 * max(min(seen), 1e-12)


def _cause(log: Log, bad: MetricRecord | None, before: tuple[int, float] | None) -> str:
    if bad is None:
        return "The loss or a gradient became NaN or infinite."
    step = f" at step {bad.step}" if bad.step is not None else ""
    names = ", ".join(key for key, value in _losses(bad).items() if not math.isfinite(value))
    start = f"{names} is not finite from line {bad.line}{step} on"
    if before is None:
        return f"{start}, the first that reports it: it was so at once."
    grew = "after it had grown for a while" if _grew(log, before) else f"right after a value of {before[1]:g}"
    return f"{start}, {grew}."


def _advice(log: Log, bad: MetricRecord | None, before: tuple[int, float] | None, *, half: bool) -> Fix:
    if bad is not None and before is None:
        start = "Not finite from the first report: check inputs, labels and weights for NaN before the learning rate."
    elif _grew(log, before):
        start = "The loss grew first: divide the learning rate by three to ten, warm up longer, clip gradients to 1."
    elif half:
        start = "Sudden, and in float16: try bfloat16 or float32; if that helps it is an overflow."
    else:
        start = "Run the batch of that step again in float32 under `torch.autograd.set_detect_anomaly(True)`."
    return Fix(f"{start} Resume from a checkpoint that was written before the first NaN.")


_OVERFLOWS_IN_A_ROW = 25


def _start() -> Callable[[Step], Verdict | None]:
    overflows = 0

    def observe(step: Step) -> Verdict | None:
        nonlocal overflows
        scaled = step.precision == "fp16" and step.loss_scale is not None
        if math.isfinite(step.loss) and not step.finite and scaled:
            # The scaler is looking for its scale: it skips such a step by itself. It does not do so for ever.
            overflows += 1
            return _stop(step, overflows) if overflows >= _OVERFLOWS_IN_A_ROW else None
        overflows = 0
        return None if step.finite else _stop(step, 0)

    return observe


def _stop(step: Step, overflows: int) -> Verdict:
    what = f"loss is {step.loss}" if not math.isfinite(step.loss) else f"gradient norm is {step.gradient_norm}"
    if overflows:
        what = f"gradients overflowed in {overflows} steps in a row, loss scale {step.loss_scale:g}"
    files = f"; files: {', '.join(step.files[:4])}" if step.files else ""
    message = f"{what} at step {step.step} of epoch {step.epoch}, learning rate {step.lr:g}, {step.precision}{files}"
    if step.precision == "fp16":
        fix = Fix("Compute in a wider range: precision: bf16 where the hardware has it, else fp32.")
    else:
        fix = Fix(
            f"Lower the learning rate, for example optim.lr: {step.lr / 10:.1e}, and clip: optim.clip_norm: 1.0",
            FixSafety.UNSAFE,
            "the cause may be in the data or in the mathematics",
        )
    evidence = tuple(Evidence("in the batch", Location(name)) for name in step.files[:16])
    return Verdict(Action.STOP, Finding("nan-loss", Level.ERROR, message, evidence=evidence, fix=fix))


RULE = Rule(
    slug="nan-loss",
    family="precision",
    title="The loss is NaN or infinite",
    level=Level.ERROR,
    log=LogFacet(
        (" nan", ":nan", "=nan", "(nan", "[nan", " inf", "=inf", "infinite", "non-finite", "minimum loss scale"),
        _examine,
    ),
    source=absent("which division or logarithm meets a zero depends on the data, not on the text"),
    before=absent("whether a run diverges cannot be told from its plan"),
    during=DuringFacet(_start),
    module=__name__,
)
