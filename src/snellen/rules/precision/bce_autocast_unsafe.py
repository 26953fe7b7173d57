"""Binary cross entropy of probabilities is computed under autocast, which refuses it.

What happens
------------
`RuntimeError: torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.` on the first
training step with mixed precision. In float32, and on a CPU, the same code runs.

Why
---
`BCELoss` takes the logarithm of probabilities. In float16 a probability below 6e-8 is 0 and one above 0.9995 is 1, the
logarithm is infinite and so is the gradient. Autocast on a GPU could not mend this by casting: the probability was
rounded before it came here. So it refuses, whatever the dtype of the arguments, and in bfloat16 as well.

How to confirm
--------------
Look for a sigmoid in front of the loss, at the end of the model as a rule. `torch.is_autocast_enabled("cuda")` before
the failing line is true.

Fix
---
Take the sigmoid out of the model and use `BCEWithLogitsLoss`, or `F.binary_cross_entropy_with_logits(logits, target)`:
one stable formula, safe under autocast. Apply the sigmoid only where probabilities are read: in prediction and metrics.
Where the scores are no logits (cosine similarities, products of probabilities) compute the loss in
`with torch.autocast("cuda", enabled=False):` on `scores.float()`.

When it is something else
-------------------------
`Assertion input_val >= zero && input_val <= one failed` is `BCELoss` with scores that are no probabilities: the sigmoid
is missing. A loss that turns NaN without this message is `nan-loss`.

Sources
-------
- Operations that autocast refuses:
  https://docs.pytorch.org/docs/stable/amp.html#prefer-binary-cross-entropy-with-logits-over-binary-cross-entropy
- `BCEWithLogitsLoss`: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from snellen.core.finding import Edit, Evidence, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile, Span, WithBlock

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"binary_cross_entropy and torch\.nn\.BCELoss are unsafe to autocast"
    r"|Many models use a sigmoid layer right before the binary cross entropy layer",
    re.IGNORECASE,
)
_WRITTEN = re.compile(
    r"(?<![\w.])(?P<callee>[\w.]*binary_cross_entropy)\s*\(\s*(?P<given>[^,()]{1,60}|[\w.]*sigmoid\([^()]{1,60}\))\s*,"
)
_SIGMOID = re.compile(r"^(?:[\w.]*sigmoid\((?P<inner>[^()]{1,60})\)|(?P<before>[\w.\[\]]{1,60})\.sigmoid\(\))$")


def _examine(log: Log) -> LogMatch | None:
    said = find_message(log, _MESSAGE)
    if said is None:
        return None
    frames = said.error.frames if said.error is not None else ()
    written = next((match for frame in reversed(frames) if (match := _own_call(frame.code))), None)
    cause = f"Binary cross entropy of probabilities is asked for under autocast{said.place}."
    if written is None:
        fix = (
            "Replace `BCELoss` by `BCEWithLogitsLoss` and take the sigmoid out of the model; apply it only in "
            "prediction and metrics."
        )
    else:
        given = written["given"].strip()
        inner = _SIGMOID.match(given)
        logits = (inner["inner"] or inner["before"]) if inner else None
        new = f"{written['callee']}_with_logits({logits or 'logits'}, ...)"
        fix = f"Write `{new}`" + (
            "." if logits else f", where `logits` is what the sigmoid made `{given}` of; drop that sigmoid."
        )
    return LogMatch(0.98 if said.first else 0.85, said.facts, cause, Fix(fix))


def _own_call(code: str) -> re.Match[str] | None:
    """The call of the function in a line of code that is not PyTorch's own."""
    return None if "torch._C" in code else _WRITTEN.search(code)


_AUTOCAST = ("torch.autocast", "torch.amp.autocast", "torch.cuda.amp.autocast", "torch.cuda.amp.autocast_mode.autocast")
_LOSSES = (
    "torch.nn.functional.binary_cross_entropy",
    "torch.nn.BCELoss.forward",
    "torch.nn.modules.loss.BCELoss.forward",
)
_DEEPEST = 4


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    losses = [call for call in file.calls if call.name in _LOSSES and not _switched_off(file, call)]
    if not losses:
        return
    reached = _reached([file, *file.elsewhere])
    for call in losses:
        if _under_autocast(file, call):
            yield _hit(file, call, ())
        elif evidence := _within(file, call.function, reached):
            yield _hit(file, call, (evidence,))


def _hit(file: SourceFile, call: CallSite, evidence: tuple[Evidence, ...]) -> Hit:
    by_name = call.name.endswith("binary_cross_entropy")
    what = call.code.partition("(")[0] if by_name else "BCELoss"
    where = "under autocast" if not evidence else "in what is called under autocast"
    message = f"`{what}` {where}: on a GPU it raises, whatever the dtype"
    edits = _with_logits(file, call) if by_name else ()
    if edits:
        text = f"Write `{what}_with_logits` and leave out the sigmoid."
        reason = "the same loss up to rounding; `binary_cross_entropy` also cuts logarithms off at -100"
        return Hit(message, call.span, Fix(text, FixSafety.UNSAFE, reason, edits=edits), evidence)
    new = f"{what}_with_logits" if by_name else "BCEWithLogitsLoss"
    text = f"Use `{new}` and take the sigmoid out of the model; apply it only in prediction and metrics."
    return Hit(message, call.span, Fix(text), evidence)


def _with_logits(file: SourceFile, call: CallSite) -> tuple[Edit, ...]:
    """The change where the sigmoid stands in the call itself."""
    given = call.argument(0, "input")
    inner = _SIGMOID.match(given.code) if given is not None else None
    callee = call.code.partition("(")[0]
    if given is None or inner is None or "\n" in callee or call.argument(2, "weight") is not None:
        return ()
    if not callee.endswith(".binary_cross_entropy"):
        # A name that was imported alone has no `_with_logits` beside it.
        return ()
    end = call.span.start_column + len(callee)
    place = Span(call.span.start_line, end, call.span.start_line, end)
    return file.edit(place, "_with_logits"), file.edit(given.span, inner["inner"] or inner["before"])


def _blocks(file: SourceFile) -> Iterator[WithBlock]:
    """`with` statements that switch autocast on for a GPU."""
    for block in file.withs:
        calls = [call for call in block.calls if call.name in _AUTOCAST]
        if calls and not any(_is_off(call) or _is_cpu(call) for call in calls):
            yield block


def _is_off(call: CallSite) -> bool:
    position = 0 if "cuda.amp" in call.name else 2
    enabled = call.argument(position, "enabled")
    return enabled is not None and enabled.value is False


def _is_cpu(call: CallSite) -> bool:
    device = call.argument(0, "device_type")
    return device is not None and device.value in ("cpu", "mps")


def _switched_off(file: SourceFile, call: CallSite) -> bool:
    """Whether the innermost autocast around a call switches it off."""
    around = [block for block in file.withs if block.span.contains(call.span)]
    inner = [site for block in around for site in block.calls if site.name in _AUTOCAST]
    return bool(inner) and (_is_off(inner[-1]) or _is_cpu(inner[-1]))


def _under_autocast(file: SourceFile, call: CallSite) -> bool:
    decorated = any(site.name in _AUTOCAST and not _is_off(site) for site in _decorators(file, call))
    return decorated or any(block.span.contains(call.span) for block in _blocks(file))


def _decorators(file: SourceFile, call: CallSite) -> Iterator[CallSite]:
    """Calls of autocast that decorate the function around a call."""
    function = file.function_around(call.span)
    if function is None or not set(function.decorators) & set(_AUTOCAST):
        return
    first = function.span.start_line
    yield from (site for site in file.calls if site.name in _AUTOCAST and first - 4 <= site.span.start_line < first)


def _reached(files: Iterable[SourceFile]) -> dict[str, Evidence]:
    """Functions of the project that run under autocast, by their last two names, and where that begins."""
    everything = tuple(files)
    todo = [step for file in everything for step in (*_entered(file), *_trained_by_lightning(file, everything))]
    found: dict[str, Evidence] = {}
    for _ in range(_DEEPEST):
        new = [(name, evidence) for name, evidence in dict(todo).items() if name not in found]
        found.update(new)
        todo = [step for name, evidence in new for file in everything for step in _calls_of(file, name, evidence)]
    return found


def _entered(file: SourceFile) -> Iterator[tuple[str, Evidence]]:
    """What is called in a `with` statement of autocast."""
    for block in _blocks(file):
        evidence = _seen(file, block.span, f"with {', '.join(block.items)}")
        yield from ((name, evidence) for call in file.calls_in(block.span) if (name := _own_name(file, call)))


def _trained_by_lightning(file: SourceFile, files: Iterable[SourceFile]) -> Iterator[tuple[str, Evidence]]:
    """The steps of the project's Lightning modules, where a trainer switches mixed precision on."""
    for call in file.calls:
        precision, device = call.argument(99, "precision"), call.argument(99, "accelerator")
        mixed = precision is not None and str(precision.value) in ("16", "16-mixed", "bf16", "bf16-mixed")
        if not mixed or call.method != "Trainer" or (device is not None and device.value == "cpu"):
            continue
        evidence = _seen(file, call.span, f"Trainer(precision={precision.code})" if precision else "")
        for other in files:
            for block in other.classes:
                if any(base.endswith("LightningModule") for base in block.bases):
                    yield from ((f"{block.name}.{step}", evidence) for step in ("training_step", "validation_step"))


def _seen(file: SourceFile, span: Span, text: str) -> Evidence:
    return Evidence(text, Location(file.path, span.start_line, span.start_column + 1))


def _own_name(file: SourceFile, call: CallSite) -> str | None:
    """How a function of the project is called: `Net.forward`, `losses.dice`; `None` for a library's or unknown ones."""
    if call.name.startswith((".", "torch.")) or not call.name:
        return None
    return ".".join(call.name.split(".")[-2:]) if "." in call.name else f"{PurePath(file.path).stem}.{call.name}"


def _calls_of(file: SourceFile, name: str, evidence: Evidence) -> Iterator[tuple[str, Evidence]]:
    owner = name.rpartition(".")[0]
    for call in file.calls:
        if not _is(file, call.function, name) or _switched_off(file, call):
            continue
        if call.receiver == "self" and call.name.startswith("."):
            yield f"{owner}.{call.method}", evidence
        elif own := _own_name(file, call):
            yield own, evidence


def _is(file: SourceFile, function: str, name: str) -> bool:
    """Whether a function of a file is the one that is called so: by its class, its module or its package."""
    path = PurePath(file.path)
    if "." in function:
        return function == name or function.endswith(f".{name}")
    return name in (f"{path.stem}.{function}", f"{path.parent.name}.{function}")


def _within(file: SourceFile, function: str, reached: dict[str, Evidence]) -> Evidence | None:
    return next((evidence for name, evidence in reached.items() if _is(file, function, name)), None)


RULE = Rule(
    slug="bce-autocast-unsafe",
    family="precision",
    title="Binary cross entropy of probabilities under autocast",
    level=Level.ERROR,
    log=LogFacet(("unsafe to autocast", "right before the binary cross entropy"), _examine),
    source=SourceFacet(("BCELoss", "binary_cross_entropy", "autocast", "Trainer("), _examine_source),
    before=absent("losses are not named in a run file"),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
