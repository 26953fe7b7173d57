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
from collections.abc import Callable, Iterator

from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogLine, LogMatch, MetricRecord
from snellen.core.logs.messages import narrowed
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, DuringFacet, LogFacet, Rule, SourceFacet
from snellen.core.settings import numbers_in
from snellen.core.source import CallSite, Hit, Origin, SourceFile
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]


_STATED = re.compile(
    r"\bloss (?:is|was|became|turned|=) ?(?:nan|inf|not finite|infinite)|non-?finite loss"
    r"|minimum loss scale reached|loss scale already at minimum|found invalid values:\s*tensor\(\[+nan"
    r"|^\s*\d+/\d+\s.{0,200}(?:\bnan\b[\s,|]{1,20}){2}\bnan\b|^\s*\d+/\d+\s+[\d.]+[GM]\s+(?:[\d.]+\s+){0,5}nan\b"
    r"|(?<![\w/])(?:train_)?loss(?:_step|_epoch)?=nan\.0"
    r"|returned nan values in its \d+th output|(?<!\b0 )(?<!\bno )\bnan (?:in )?loss(?:es)?\b"
    r"|\bloss(?:es)? (?:contains?|has|have) (?:nan|inf)"
    r"|\bloss (?:nan|inf)(?:/inf| or inf)? (?:detected|encountered|found)|training has diverged"
    r"|loss returned in .{1,30} is (?:nan|inf)|matrix contains invalid numeric entries",
    re.IGNORECASE,
)
_HINTED = re.compile(r"nan or inf found in input tensor|cost matrix is infeasible", re.IGNORECASE)
"""Said of numbers that need not be the loss."""
_SAID = ("nan", "inf", "finite", "loss scale", "diverged", "invalid numeric")
_LOSS = re.compile(r"loss|\bcost\b|\bnll\b|objective", re.IGNORECASE)
_OTHER = re.compile(
    r"^(?:val|valid|validation|test|eval|best|min|lowest|prev)[_/. -]|[_/](?:val|valid|test|eval)$|scale|weight|coef",
    re.IGNORECASE,
)
_RECORD_SO_FAR = re.compile(
    r"\b(?:best|min|minimum|lowest|prev|previous|improved|decreased|initial|from)\b|_best|best_", re.IGNORECASE
)
_VALIDATION = re.compile(r"\W*(?:\w+\W+){0,3}?(?:val|valid|validation|test|eval|evaluation)\b", re.IGNORECASE)
_SOURCE_LINE = re.compile(
    r"^\s*(?:-+>\s*)?(?:\d+\s+)?(?:if|elif|raise|assert|print|return|#|self\.|log(?:ger|ging)?\.|warnings?\.)"
)
_HALF = re.compile(r"\b(?:fp16|float16|half precision|16-mixed|amp)\b", re.IGNORECASE)
_BACKWARD = re.compile(r"Function '(?P<operation>\w+?)Backward\d*' returned nan values", re.IGNORECASE)
_OPERATIONS = {
    "Sqrt": "`sqrt` has an infinite slope at 0: write `torch.sqrt(x + eps)`",
    "Log": "the logarithm met a 0: `log_softmax`, `logsigmoid` or `torch.log(x.clamp_min(eps))`",
    "Div": "a division by 0: add an epsilon to the denominator",
    "Pow": "a power has an infinite slope at 0: clamp its base to a small positive number",
    "LinalgVectorNorm": "the norm of a vector of zeros: `F.normalize(x, eps=...)`, or an epsilon under the root",
    "Norm": "the norm of a vector of zeros: `F.normalize(x, eps=...)`, or an epsilon under the root",
    "Acos": "`acos` has an infinite slope at 1: clamp the cosine to (-1 + eps, 1 - eps)",
    "Std": "the deviation of equal numbers: take the variance and add an epsilon before the root",
    "Exp": "`exp` overflowed: subtract the maximum first, or clamp the exponent",
}


def _examine(log: Log) -> LogMatch | None:
    bad = _first_bad(log)
    stated = _stated(log, _STATED)
    bad = bad or (_lost_gradients(log) if stated is None else None)
    hinted = _stated(log, _HINTED) if bad is None and stated is None else None
    if bad is None and stated is None and hinted is None:
        return None
    by_number = {line.number: line for line in log.lines}
    before = _last_finite(log, bad) if bad is not None else None
    numbers = (before[0] if before else None, bad.line if bad else None)
    evidence = [by_number[number].evidence for number in numbers if number in by_number]
    said = [line for line in (stated, hinted) if line is not None and (bad is None or line.number != bad.line)]
    evidence += [line.evidence for line in said]
    half = log.search(_HALF.pattern) is not None
    score = 0.6 if hinted is not None else 0.9
    return LogMatch(score, tuple(evidence), _cause(log, bad, before), _advice(log, bad, before, half=half))


def _stated(log: Log, pattern: re.Pattern[str]) -> LogLine | None:
    """The first line, or exception, that says it; a line of source code that could print it says nothing."""
    quoted = {frame.code for error in log.exceptions for frame in error.frames}
    for line in narrowed(log, _SAID).find(pattern.pattern):
        if line.text.strip() not in quoted and not _SOURCE_LINE.match(line.text):
            return line
    numbers = {error.line for error in log.exceptions if pattern.search(error.message)}
    return next((line for line in log.lines if line.number in numbers), None)


def _losses(record: MetricRecord) -> dict[str, float]:
    if record.split in ("val", "test"):
        return {}
    return {key: value for key, value in record.values.items() if _LOSS.search(key) and not _OTHER.search(key)}


def _first_bad(log: Log) -> MetricRecord | None:
    texts = {line.number: line.text for line in log.lines}
    for record in log.metrics:
        bad = [value for value in _losses(record).values() if not math.isfinite(value)]
        # A best loss begins at infinity.
        begun = not any(math.isnan(value) for value in bad) and _RECORD_SO_FAR.search(texts.get(record.line, ""))
        if bad and not begun and not _only_validation(texts.get(record.line, "")):
            return record
    return None


def _lost_gradients(log: Log) -> MetricRecord | None:
    """The first of several reports in a row whose gradient norm is NaN: a scaler skips one such step, not all."""
    row: list[MetricRecord] = []
    for record in log.metrics:
        norm = next((value for key, value in record.values.items() if "grad_norm" in key.lower()), None)
        row = [*row, record] if norm is not None and math.isnan(norm) else row if norm is None else []
        still = all(value == 0 for value in _losses(record).values())
        if len(row) >= (2 if still else 4):
            return row[0]
    return None


def _only_validation(text: str) -> bool:
    """Whether the line is about validation, where a mean over nothing is NaN as well."""
    return "train" not in text.lower() and _VALIDATION.match(text) is not None


def _last_finite(log: Log, bad: MetricRecord) -> tuple[int, float] | None:
    """Line and value of the same loss in the record before the first bad one."""
    key = next((key for key, value in bad.values.items() if not math.isfinite(value)), "loss")
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
        found = next((match for error in log.exceptions if (match := _BACKWARD.search(error.message))), None)
        if found:
            return f"The gradient of `{found['operation'].lower()}` is NaN."
        return "The loss, the network's outputs or a gradient became NaN or infinite."
    step = f" at step {bad.step}" if bad.step is not None else ""
    wrong = [key for key, value in _losses(bad).items() if not math.isfinite(value)]
    names = ", ".join(wrong or [key for key, value in bad.values.items() if not math.isfinite(value)])
    start = f"{names} is not finite from line {bad.line}{step} on"
    if before is None:
        return f"{start}, the first that reports it: it was so at once."
    grew = "after it had grown for a while" if _grew(log, before) else f"right after a value of {before[1]:g}"
    return f"{start}, {grew}."


def _advice(log: Log, bad: MetricRecord | None, before: tuple[int, float] | None, *, half: bool) -> Fix:
    found = next((match for error in log.exceptions if (match := _BACKWARD.search(error.message))), None)
    if found and found["operation"] in _OPERATIONS:
        start = f"{_OPERATIONS[found['operation']]}; the first of the two tracebacks names the line.".capitalize()
    elif bad is not None and before is None:
        start = "Not finite from the first report: check inputs, labels and weights for NaN before the learning rate."
    elif _grew(log, before):
        start = "The loss grew first: divide the learning rate by three to ten, warm up longer, clip gradients to 1."
    elif half:
        start = "Sudden, and in float16: try bfloat16 or float32; if that helps it is an overflow."
    else:
        start = "Run the batch of that step again in float32 under `torch.autograd.set_detect_anomaly(True)`."
    return Fix(f"{start} Resume from a checkpoint that was written before the first NaN.")


_SOFTMAX = frozenset(("torch.softmax", "torch.nn.functional.softmax", "torch.nn.Softmax.forward", ".softmax"))
_SIGMOID = frozenset(("torch.sigmoid", "torch.nn.functional.sigmoid", "torch.nn.Sigmoid.forward", ".sigmoid"))
_SQUARED = frozenset(("torch.nn.functional.mse_loss", "torch.nn.MSELoss.forward"))
_COSINE = frozenset(("torch.nn.functional.cosine_similarity", "torch.nn.CosineSimilarity.forward"))
_NO_GRADIENT = frozenset(("torch.no_grad", "torch.inference_mode", "no_grad", "inference_mode"))


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    """Compositions whose value or slope is infinite where training surely goes."""
    for call in file.calls:
        found = _inside(call)
        measured = re.search(r"metric|evaluat|\bval_|_val\b|perplexity", f"{file.path} {call.function}", re.IGNORECASE)
        if found is None or measured or _NO_GRADIENT & set(call.contexts):
            continue
        origin, code = found
        if {"double", "clamp"} & set(origin.through) if origin else False:
            continue
        name = origin.name if origin else ""
        if call.method == "log" and (name in _SOFTMAX or name in _SIGMOID):
            yield _of_logarithm(file, call, name)
        elif call.method == "log" and (rest := re.match(r"^1(?:\.0?)?\s*-\s*(?P<rest>.+)$", code, re.DOTALL)):
            if _is_sigmoid(file, call, rest["rest"]):
                text = "Write `F.logsigmoid(-x)` of the logits x: it is log(1 - sigmoid(x)) without the rounding."
                yield Hit(
                    f"`{call.code}`: sigmoid is exactly 1 from 17 on, and log(0) infinite",
                    call.span,
                    Fix(text),
                    level=Level.WARNING,
                )
        elif call.method == "sqrt" and name in _SQUARED and _is_loss(call):
            yield Hit(
                f"`{call.code}`: the slope of the root is infinite where the error is 0",
                call.span,
                Fix("Add an epsilon under the root: `torch.sqrt(mse + 1e-8)`."),
                level=Level.WARNING,
            )
        elif call.method in ("acos", "arccos") and name in _COSINE:
            yield Hit(
                f"`{call.code}`: a cosine of 1 has an infinite slope, and rounding takes it beyond 1",
                call.span,
                Fix("Clamp the cosine first: `cosine.clamp(-1 + 1e-6, 1 - 1e-6)`."),
                level=Level.WARNING,
            )


def _inside(call: CallSite) -> tuple[Origin | None, str] | None:
    """What `torch.log(x)` or `x.log()` is taken of: where it came from, and its text."""
    if call.method not in ("log", "sqrt", "acos", "arccos"):
        return None
    if call.name == f"torch.{call.method}" and call.arguments:
        return call.arguments[0].origin, call.arguments[0].code
    return (call.receiver_origin, call.receiver) if call.receiver and call.name.startswith(".") else None


def _of_logarithm(file: SourceFile, call: CallSite, name: str) -> Hit:
    stable = "log_softmax" if name in _SOFTMAX else "logsigmoid"
    kind = "softmax" if name in _SOFTMAX else "sigmoid"
    message = f"`{call.code}`: {kind} rounds small probabilities to 0, and log(0) is infinite"
    function = next((local for local, whole in file.imports.items() if whole == "torch.nn.functional"), None)
    text = Fix(f"Write `F.{stable}` of the logits.")
    inner = call.arguments[0].origin if call.arguments else call.receiver_origin
    if inner is None or inner.through or not call.span.contains(inner.call.span) or "\n" in call.code:
        return Hit(message, call.span, text, level=Level.WARNING)
    given = inner.call.code[inner.call.code.index("(", len(inner.call.receiver or "")) + 1 : -1]
    if inner.name.startswith("."):
        given = f"{inner.call.receiver}, {given}".rstrip(", ")
    if inner.name.endswith(".forward") or (name in _SOFTMAX and "," not in given):
        return Hit(message, call.span, text, level=Level.WARNING)
    new = f"{function or 'torch.nn.functional'}.{stable}({given})"
    edit, reason = file.edit(call.span, new), "the same number, computed without passing through one that underflows"
    safety = FixSafety.SAFE if function or "torch" in file.imports else FixSafety.UNSAFE
    return Hit(message, call.span, Fix(f"Write `{new}`.", safety, reason, edits=(edit,)), level=Level.WARNING)


def _is_sigmoid(file: SourceFile, call: CallSite, code: str) -> bool:
    if re.match(r"^(?:torch|F|(?:torch\.)?nn\.functional)\.sigmoid\(|^[\w.]+\.sigmoid\(\)$", code):
        return True
    earlier = [a for a in file.assignments if a.target == code and a.function == call.function]
    last = [a for a in earlier if a.span.start < call.span.start]
    return bool(last) and last[-1].call is not None and last[-1].call.name in _SIGMOID and not last[-1].operator


def _is_loss(call: CallSite) -> bool:
    """Whether the root is taken of what is trained on, not of a number for people."""
    owner, _, function = call.function.rpartition(".")
    trained = "loss" in f"{function} {call.target or ''}".lower() or (function == "forward" and "loss" in owner.lower())
    return trained and not re.search(r"val|test|eval|metric", call.function, re.IGNORECASE)


_EPSILON = re.compile(r"(?:^|\.)(?:delta|eps|epsilon)$")
_NOTHING = 2.0**-75
"""Its square is 0 in float32."""
_LARGEST_RATE = 0.1
"""Of Adam, whose every step moves each weight by about the learning rate; weights start at 0.01 to 0.1."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """What makes the loss NaN for sure, or the weights worthless in one step, whatever the data."""
    if "optim" not in plan.settings and "loss" not in plan.settings:
        raise NotApplicable("the settings name neither a loss nor an optimiser")
    numbers = dict(numbers_in(plan.settings))
    for key, value in numbers.items():
        if key.startswith("loss.") and _EPSILON.search(key) and 0 < value <= _NOTHING:
            text = f"{key} is {value:g}, and its square is 0 in float32: the slope of the root at 0 is NaN"
            fix = Fix(f"Write {key}: 1e-3.", FixSafety.SAFE, "the loss was no number", settings=((key, 1e-3),))
            yield Finding("nan-loss", Level.ERROR, text, setting_place(plan, key), fix=fix)
    rate, optim = numbers.get("optim.lr", 0.0), plan.settings.get("optim") or {}
    # A head alone on fixed features takes such rates.
    if (
        rate >= _LARGEST_RATE
        and str(optim.get("optimiser", "adam")).startswith("adam")
        and plan.settings.get("task") != "probe"
    ):
        clips = " and nothing clips the gradient" if optim.get("clip_norm", 1.0) is None else ""
        text = f"optim.lr is {rate:g} with Adam: each step moves every weight by about that much{clips}"
        fix = Fix("Write optim.lr: 1e-4.", FixSafety.UNSAFE, "it is another run", settings=(("optim.lr", 1e-4),))
        yield Finding("nan-loss", Level.WARNING, text, setting_place(plan, "optim.lr"), fix=fix)


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
        (
            " nan",
            ":nan",
            "=nan",
            "(nan",
            "[nan",
            " inf",
            "=inf",
            "infinite",
            "non-finite",
            "minimum loss scale",
            "at minimum",
            "has diverged",
            "infeasible",
            "invalid numeric",
        ),
        _examine,
    ),
    source=SourceFacet(("log(", "sqrt(", "acos(", "arccos("), _examine_source),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=DuringFacet(_start),
    module=__name__,
)
