"""The loss is not connected to any parameter that is trained.

What happens
------------
`loss.backward()` raises `RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn`. With
a gradient scaler driven by a framework it can read `No inf checks were recorded for this optimizer` instead.

Why
---
Autograd records an operation only when gradients are enabled and an input requires one. The loss has no record, so
either nothing recorded (`torch.no_grad()`, `inference_mode`, `set_grad_enabled(False)` left on by a validation loop,
`model.requires_grad_(False)`, all parameters frozen by a name filter that matched too much or a mode that trains
nothing), or the record was cut: `.detach()`, `.data`, `.item()`, `.numpy()`, `argmax`, `torch.tensor(list of
losses)`, a comparison, a cast to an integer.

How to confirm
--------------
`print(loss.requires_grad, output.requires_grad, torch.is_grad_enabled())` and
`sum(p.requires_grad for p in model.parameters())`. If no parameter requires grad, it is freezing; if the output still
requires grad and the loss does not, it is the loss.

Fix
---
Unfreeze what is meant to be trained, take the forward pass out of `no_grad`, compute the loss with tensors from end to
end (`torch.stack(losses).sum()`, logits instead of `argmax`). `loss.requires_grad = True` only hides it: it runs and
nothing learns.

When it is something else
-------------------------
If the log also says `None of the inputs have requires_grad=True`, gradient checkpointing cut the graph:
`checkpoint-mismatch`. A loss that was forced to require a gradient runs through and learns nothing: `detached-loss`.

Sources
-------
- Locally disabling gradient computation:
  https://docs.pytorch.org/docs/stable/notes/autograd.html#locally-disabling-gradient-computation
- `torch.Tensor.requires_grad`: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.requires_grad.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.training import Backward, backwards
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message, loop_owner
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, Origin, SourceFile

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"element \d+ of (?:tensors|variables)(?: tuple)? does not require grad and does not have a grad_fn"
    r"|element \d+ of variables tuple is volatile|one of the differentiated tensors does not require grad"
    r"|there are no graph nodes that require computing gradients",
    re.IGNORECASE,
)
_NO_CHECKS = re.compile(r"no inf checks were recorded for this optimizer", re.IGNORECASE)
_CHECKPOINTED = r"none of the inputs have requires_grad=true"
_TRAINABLE = re.compile(
    r"trainable[^:=\n]{0,30}[:=]\s*\(?(?P<count>0(?:\.0+)?\s*(?:%|[MKB])?)(?![\d.])|(?P<none>no trainable "
    r"parameters|0 gradients)",
    re.IGNORECASE,
)
_CUTS = (
    (re.compile(r"\.detach\(\)|\.data\b"), "`.detach()` or `.data`"),
    (re.compile(r"\.item\(\)|\bfloat\("), "`.item()` or `float()`"),
    (re.compile(r"\.numpy\(\)|\bnp\.|\bnumpy\."), "NumPy"),
    (
        re.compile(r"\btorch\.(?:tensor|Tensor|FloatTensor|as_tensor)\("),
        "`torch.tensor(...)`, which copies numbers without history",
    ),
    (
        re.compile(r"argmax|\.max\(1\)\[1\]|\.round\(|\.long\(\)|\.int\(\)"),
        "a choice or a rounding (`argmax`, `.long()`)",
    ),
)


def _examine(log: Log) -> LogMatch | None:
    said = find_message(log, _MESSAGE)
    if said is None:
        return _from_scaler(log)
    checkpointed = log.search(_CHECKPOINTED)
    frozen = next((line for line in log.lines if _TRAINABLE.search(line.text)), None)
    evidence = (*said.facts, *((frozen.evidence,) if frozen else ()))
    score = 0.65 if checkpointed else 0.96 if said.first else 0.8
    cause, fix = _explanation(said, frozen.text.strip() if frozen else "")
    return LogMatch(score, evidence, cause, Fix(fix))


def _explanation(said: Message, frozen: str) -> tuple[str, str]:
    if frozen:
        return (
            f"Nothing is trained: the log says `{frozen[:120]}`.",
            (
                "Set `requires_grad_(True)` on what is meant to be trained, and look at the filter of names that "
                "freezes: print `[n for n, p in model.named_parameters() if p.requires_grad]`."
            ),
        )
    codes = "\n".join(frame.code for frame in said.error.frames if not frame.in_library) if said.error else ""
    cut = next((words for pattern, words in _CUTS if pattern.search(codes)), None)
    if cut is not None:
        return (
            f"No operation connects the loss with a parameter{said.place}; the graph is probably cut by {cut}.",
            f"Keep tensors from the model's output to the loss; take {cut} out of that path.",
        )
    loss = re.search(r"([A-Za-z_][\w.]*)\.backward\(", codes)
    name = loss[1] if loss else "loss"
    return (
        f"No operation connects the loss with a parameter that requires a gradient{said.place}.",
        (
            f"Before that line print `{name}.grad_fn`, the model output's `.requires_grad`, "
            "`torch.is_grad_enabled()` and `sum(p.requires_grad for p in model.parameters())`. None trained: "
            "unfreeze what is meant to be. Gradients off: take the forward pass out of `no_grad`. Output connected "
            "and loss not: the loss uses `.detach()`, `.item()`, NumPy or `torch.tensor(...)`. Do not set "
            f"`{name}.requires_grad = True`: then nothing learns."
        ),
    )


def _from_scaler(log: Log) -> LogMatch | None:
    """A framework keeps the scaler's order: when it stepped without gradients, the loss led to no parameter."""
    said = find_message(log, _NO_CHECKS)
    owner = loop_owner(said.error.frames) if said is not None and said.error is not None else None
    if said is None or owner is None:
        return None
    cause = f"{owner} scaled the loss and sent it backward, and no parameter of the optimiser got a gradient."
    fix = Fix(
        "Compute the loss from the model's output with tensors only (`torch.stack`, not `torch.tensor([...])`, no "
        "`.detach()` or `.item()`), and check that the optimiser's parameters have `requires_grad`."
    )
    return LogMatch(0.7 if said.first else 0.6, said.facts, cause, fix)


_OFF = frozenset({"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "no_grad", "inference_mode"})
_ON = frozenset({"torch.enable_grad", "torch.set_grad_enabled", "torch.autograd.enable_grad"})


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for backward in backwards(file):
        origin = _origin(file, backward)
        if origin is None or (backward.call.argument(0, "gradient") is not None and backward.how == "plain"):
            continue
        place = Location(file.path, origin.call.span.start_line, origin.call.span.start_column + 1)
        evidence = (Evidence(origin.call.code.split("\n")[0], place),)
        if _switched_off(origin.call) and origin.call.function == backward.call.function:
            message = f"`{backward.loss}` was computed under `no_grad`: it has no graph to send backward"
            fix = Fix("Take the forward pass and the loss out of `torch.no_grad()` / `inference_mode()`.")
            yield Hit(message, backward.call.span, fix, evidence)
        elif origin.through and origin.through[-1] in ("detach", ".data") and "requires_grad_" not in origin.through:
            message = f"`{backward.loss}` was detached: it has no graph to send backward"
            yield Hit(message, backward.call.span, _attach(file, backward), evidence)


def _attach(file: SourceFile, backward: Backward) -> Fix:
    """`loss.detach().backward()` without what detaches it."""
    for end in (".detach()", ".data"):
        if backward.loss.endswith(end):
            rest = backward.loss.removesuffix(end)
            edit = file.edit(backward.span, rest)
            reason = "from now on this loss moves parameters"
            return Fix(f"Write `{rest}.backward()`.", FixSafety.UNSAFE, reason, edits=(edit,))
    return Fix("Send the loss backward before it is detached; detach only what is kept for the log.")


def _origin(file: SourceFile, backward: Backward) -> Origin | None:
    if backward.how == "plain":
        inner = backward.call
        return inner.receiver_origin if inner.receiver is not None else inner.arguments[0].origin
    for call in file.calls_in(backward.call.span):
        found = next((a.origin for a in call.arguments if a.span == backward.span), None)
        if found is not None:
            return found
    return None


def _switched_off(call: CallSite) -> bool:
    """Whether gradients are off where a call stands: the innermost context that says so decides."""
    last = next((name for name in reversed(call.contexts) if name in _OFF | _ON), None)
    return last in _OFF


RULE = Rule(
    slug="no-grad-fn",
    family="autograd",
    title="The loss has no path to a trained parameter",
    level=Level.ERROR,
    log=LogFacet(
        (
            "does not have a grad_fn",
            "tuple is volatile",
            "does not require grad",
            "no graph nodes that require",
            "no inf checks",
        ),
        _examine,
    ),
    source=SourceFacet(("backward",), _examine_source),
    before=absent("what is frozen is decided by the code that builds the model"),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
