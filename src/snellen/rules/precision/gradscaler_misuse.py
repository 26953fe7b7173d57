"""The gradient scaler of fp16 training is given something that it cannot scale back, or in the wrong order.

What happens
------------
`ValueError: Attempting to unscale FP16 gradients.`, `AssertionError: No inf checks were recorded for this optimizer.`,
`RuntimeError: unscale_() has already been called on this optimizer since the last update().`, or `"..._unscale_cuda"
not implemented for 'BFloat16'`. Each comes out of `torch/amp/grad_scaler.py`.

Why
---
A `GradScaler` multiplies the loss so that small float16 gradients do not vanish, and divides float32 gradients by the
same number before the optimiser sees them. It keeps one state for each optimiser: scaled, unscaled, stepped; `update()`
resets it. So the trainable weights have to be float32 (autocast makes the float16 copies), every optimiser that is
stepped needs gradients from a scaled backward pass, and each of `unscale_` and `step` may come once per `update()`.

How to confirm
--------------
`{p.dtype for g in optimizer.param_groups for p in g["params"]}` has to be `{torch.float32}`, and after the backward
pass `any(p.grad is not None for ...)` over the same parameters has to be true.

Fix
---
Weights in half precision: load or keep trainable parameters in float32 and let autocast cast; adapters (LoRA) as well.
No inf checks: step only optimisers whose parameters took part in the loss since the last `update()`. Twice: one
`unscale_` before clipping, one `step`, one `update` an iteration, `update` also after a skipped step. bfloat16 needs no
scaler at all.

When it is something else
-------------------------
If a framework drives the scaler (mmcv, Lightning, detectron2) and no inf checks were recorded, the order is right and
the loss has no path to any parameter: `no-grad-fn`. A loss scale that falls to its minimum is a loss that overflows:
`nan-loss`. The warning that `torch.cuda.amp.GradScaler` is deprecated is `deprecated-amp-api`.

Sources
-------
- Recipes with accumulation, clipping, several losses: https://docs.pytorch.org/docs/stable/notes/amp_examples.html
- `torch.amp.GradScaler`: https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message, frameworks, loop_owner
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]

_HALF = re.compile(r"attempting to unscale fp16 gradients", re.IGNORECASE)
_TWICE = re.compile(
    r"(?P<what>unscale_\(\)|step\(\)) (?:has already been called (?:on this optimizer )?since the last update|"
    r"is being called after (?P<after>step)\(\))",
    re.IGNORECASE,
)
_NO_CHECKS = re.compile(r"no inf checks were recorded (?:for this optimizer|prior to update)", re.IGNORECASE)
_UNSCALED = re.compile(r"attempted (?:unscale_|step|update) but _(?:scale|growth_tracker) is none", re.IGNORECASE)
_CLOSURE = re.compile(r"closure use is not currently supported if gradscaler is enabled", re.IGNORECASE)
_BFLOAT = re.compile(r"_amp_(?:foreach_)?non_finite_check_and_unscale\w*[\"'] not implemented for 'BFloat16'")
_EMPTY = re.compile(
    r"the source state dict is empty, possibly because it was saved from a disabled instance", re.IGNORECASE
)


def _examine(log: Log) -> LogMatch | None:
    for pattern, answer in _ANSWERS:
        said = find_message(log, pattern)
        if said is not None:
            score, cause, fix = answer(said)
            return LogMatch(score if said.first else min(score, 0.75), said.facts, cause, Fix(fix))
    return None


def _half(said: Message) -> tuple[float, str, str]:
    through = frameworks(said.error.frames) if said.error is not None else ()
    cause = f"The optimiser holds parameters that are float16 themselves, so their gradients are{said.place}."
    if "accelerate" in through or "diffusers" in through:
        fix = (
            "Trainable parameters stay float32 under `mixed_precision='fp16'`: load them without "
            "`torch_dtype=torch.float16`, or before `accelerator.prepare` run "
            "`for p in model.parameters(): p.data = p.data.float() if p.requires_grad else p.data`; "
            "look also for code that casts the model to half for validation and leaves it so."
        )
    elif "transformers" in through:
        fix = "Load the model in float32 (`torch_dtype=torch.float32`) and let `fp16=True` cast; or use `bf16=True`."
    else:
        fix = (
            "Remove `.half()` (or `dtype=torch.float16`) from the trained model: keep it float32 and compute under "
            '`torch.autocast("cuda", dtype=torch.float16)`. A model that has to be half is trained in bfloat16, '
            "without a scaler."
        )
    return 0.97, cause, fix


def _twice(said: Message) -> tuple[float, str, str]:
    what, through = said.match["what"], frameworks(said.error.frames) if said.error is not None else ()
    if said.match["after"]:
        return 0.97, "`unscale_` comes after `step` in the same iteration.", _ORDER
    cause = f"`{what}` ran twice for one optimiser with no `scaler.update()` between{said.place}."
    if "transformers" in through or "accelerate" in through:
        return (
            0.9,
            cause,
            (
                "With gradient accumulation this was a fault of transformers 4.30 with accelerate 0.20: upgrade both "
                "(`pip install -U transformers accelerate`). In a loop of your own call `clip_grad_norm_` only when "
                "`accelerator.sync_gradients` is true."
            ),
        )
    return 0.97, cause, _ORDER


_ORDER = (
    "Once an iteration and optimiser, in this order: `scaler.scale(loss).backward()`, `scaler.unscale_(optimizer)` "
    "(only to clip), `clip_grad_norm_`, `scaler.step(optimizer)`, `scaler.update()`; also when a batch is skipped. "
    "With accumulation all but the first of these run only on the last micro-batch."
)


def _no_checks(said: Message) -> tuple[float, str, str]:
    owner = loop_owner(said.error.frames) if said.error is not None else None
    cause = f"The scaler stepped an optimiser none of whose parameters had a gradient{said.place}."
    fix = (
        "Call `scaler.step(optimizer)` only for an optimiser whose parameters are part of the loss that was scaled "
        "and sent backward since the last `update()`; check that they have `requires_grad`, are not detached or "
        "replaced after the optimiser was made, and that `zero_grad` does not stand between backward and step."
    )
    # A framework keeps the order; what remains is a loss without a path to the parameters.
    return (0.45 if owner else 0.85), cause, fix


def _unscaled(said: Message) -> tuple[float, str, str]:
    cause = f"`unscale_` or `step` came before the first `scaler.scale(loss).backward()`{said.place}."
    return 0.97, cause, f"Send the scaled loss backward: `scaler.scale(loss).backward()`. {_ORDER}"


def _closure(said: Message) -> tuple[float, str, str]:
    cause = f"`scaler.step(optimizer, closure)` cannot be: the scaler may have to skip the step{said.place}."
    return 0.97, cause, "Train in bfloat16 or float32 with an optimiser that needs a closure (LBFGS, SAM)."


def _bfloat(said: Message) -> tuple[float, str, str]:
    cause = f"A loss scaler is used with bfloat16 gradients, which its kernel does not take{said.place}."
    return (
        0.93,
        cause,
        (
            "bfloat16 needs no loss scaling: make the scaler with `enabled=False` or leave it out (`bf16`, not `fp16`, "
            "in the settings), or keep the trained weights float32."
        ),
    )


def _empty(said: Message) -> tuple[float, str, str]:
    cause = f"The checkpoint was written by a run without scaling; an enabled scaler finds no state in it{said.place}."
    return (
        0.9,
        cause,
        (
            "Load it only when there is something to load: `if state: scaler.load_state_dict(state)`; a new scaler "
            "finds its scale within some hundred steps."
        ),
    )


_ANSWERS = (
    (_HALF, _half),
    (_TWICE, _twice),
    (_NO_CHECKS, _no_checks),
    (_UNSCALED, _unscaled),
    (_CLOSURE, _closure),
    (_BFLOAT, _bfloat),
    (_EMPTY, _empty),
)
_SCALERS = ("torch.amp.GradScaler", "torch.cuda.amp.GradScaler", "torch.cuda.amp.grad_scaler.GradScaler")
_TRAINED = re.compile(r"^(?:filter\(.{0,80},\s*)?\[?([A-Za-z_][\w.]*)\.parameters\(\)")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    """A model that is made half as a whole, trained by an optimiser whose steps a scaler takes."""
    scalers = [call for call in file.calls_to(*_SCALERS) if not _disabled(call)]
    if not scalers or re.search(r"master|apex|deepspeed|\bema\b", file.text):
        return
    scaled = [call for call in file.calls_to(".scale") if call.receiver and "scal" in call.receiver.lower()]
    found = (_TRAINED.match(call.arguments[0].code) for call in file.calls if _is_optimiser(call))
    trained = {match[1] for match in found if match}
    for call in file.calls_to(".half"):
        model = next((a.target for a in file.assignments if a.span.contains(call.span)), call.receiver)
        early = any(site.function == call.function and site.span.start > call.span.end for site in scaled)
        stays = call.discarded or any(a.target == model and a.span.contains(call.span) for a in file.assignments)
        if model not in trained or not stays or not early or call.conditions or call.in_loop or call.receiver is None:
            continue
        message = f"`{model}` is trained in float16 itself: `{scalers[0].code}` cannot unscale its gradients"
        new = f"{call.receiver}.float()" if call.discarded else call.receiver
        edit, reason = file.edit(call.span, new), "weights and optimiser then take twice the memory"
        fix = Fix(f"Keep the weights float32 and compute under autocast: `{new}`.", FixSafety.UNSAFE, reason, (edit,))
        yield Hit(message, call.span, fix)


def _is_optimiser(call: CallSite) -> bool:
    return bool(call.arguments) and re.search(r"(?:^torch\.optim\.|optim\w*\.|^)[A-Z]\w+$", call.name) is not None


def _disabled(call: CallSite) -> bool:
    enabled = call.argument(99, "enabled")
    return enabled is not None and enabled.value is False


RULE = Rule(
    slug="gradscaler-misuse",
    family="precision",
    title="The gradient scaler cannot unscale these gradients",
    level=Level.ERROR,
    log=LogFacet(
        ("unscale", "inf checks", "_scale is none", "gradscaler", "step() has already", "_growth_tracker is none"),
        _examine,
    ),
    source=SourceFacet(("GradScaler",), _examine_source),
    before=absent("the scaler of a run belongs to the engine, which keeps the weights in float32"),
    during=absent("the exception comes out of the step itself"),
    module=__name__,
)
