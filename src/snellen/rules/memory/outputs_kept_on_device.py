"""Outputs of a whole data set are collected on the GPU.

What happens
------------
Extraction of features or prediction starts well and ends, after some thousand images, with `CUDA out of memory`; memory
in `nvidia-smi` grows with every batch, however small the batch is.

Why
---
A tensor in a list stays where it is. Feature maps of 10,000 images at 1024 x 32 x 32 in float32 are 39 GiB. Without
`torch.no_grad()` each output keeps the activations that it was computed from as well.

How to confirm
--------------
`outputs[0].device` is `cuda:0`. `torch.cuda.memory_allocated()` grows by the size of the output in each round.

Fix
---
Move each output to main memory as it comes, `outputs.append(output.detach().cpu())`, or reduce it there and then
(`argmax`, mean, a metric that keeps sums); write to disk what is larger than memory.

When it is something else
-------------------------
Lists that are begun anew in each round (multi-scale features, decoder stages) do not grow. Losses that are collected
are `retain-graph-growth`. In main memory the same is `host-oom`.

Sources
-------
- PyTorch FAQ, memory: https://docs.pytorch.org/docs/stable/notes/faq.html
- `torch.Tensor.cpu`: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.cpu.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.inference import computes_gradients, data_loop, in_framework, model_of
from snellen.core.code.mode import no_gradients
from snellen.core.code.training import scope_of
from snellen.core.finding import Edit, Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Argument, Assignment, CallSite, Hit, Loop, Origin, SourceFile, Span

__all__ = ["RULE"]

_KEEPS = frozenset({"append", "extend"})
_SAME_SIZE = frozenset(
    (
        *("torch.softmax", "torch.sigmoid", "torch.nn.functional.softmax", "torch.nn.functional.sigmoid", "torch.relu"),
        *("torch.nn.functional.log_softmax", "torch.log_softmax", "torch.nn.functional.interpolate", "torch.tanh"),
        *(".softmax", ".sigmoid", ".log_softmax", ".relu", ".tanh", ".squeeze", ".mean", ".flatten", ".norm"),
    )
)
_OFF_DEVICE = frozenset({"cpu", "to", "numpy", "item", "tolist"})
_ON_DEVICE = re.compile(r"\.cuda\(|\.to\((?!['\"]cpu)|device\s*=|device_map|map_location\s*=\s*['\"]?(?:cuda|device)")
_ON_CPU = re.compile(r"(?:\.to|device)\(\s*['\"]cpu['\"]\s*\)|device\s*=\s*['\"]cpu['\"]")
_BREAKS = re.compile(r"^\s*(?:break\b|if .{0,80}:\s*break\b)", re.MULTILINE)
_SIMPLE = re.compile(r"[A-Za-z_][\w.]*(?:\[[\w'\":, -]{0,60}\]|\(\))?(?:\.[A-Za-z_]\w*(?:\([\w=,. -]{0,40}\))?){0,3}")
_DEEPEST = 4


def _examine(file: SourceFile) -> Iterator[Hit]:
    if not _ON_DEVICE.search(file.text) or _ON_CPU.search(file.text):
        return
    for call in file.calls:
        if call.method not in _KEEPS or not call.name.startswith(".") or len(call.arguments) != 1:
            continue
        loop = data_loop(file, call)
        argument = call.arguments[0]
        run = _run(file, argument.origin) if loop is not None else None
        if loop is None or call.receiver is None or run is None or not loop.span.contains(run.span):
            continue
        if _exempt(file, call, loop) or not _outlives(file, call.receiver, loop, call):
            continue
        yield _hit(file, argument, run, call.receiver)
    yield from _comprehensions(file)


def _run(file: SourceFile, origin: Origin | None, depth: int = _DEEPEST) -> CallSite | None:
    """The call of a model that a value came from without leaving the device or becoming small."""
    if origin is None or depth == 0 or _OFF_DEVICE & set(origin.through):
        return None
    if model_of(file, origin.call) is not None:
        return origin.call
    if origin.name in _SAME_SIZE or origin.call.name in _SAME_SIZE:
        inner = origin.call.receiver_origin
        if inner is None and origin.call.arguments:
            inner = origin.call.arguments[0].origin
        return _run(file, inner, depth - 1)
    return None


def _exempt(file: SourceFile, call: CallSite, loop: Loop) -> bool:
    block = file.function_around(call.span)
    if block is not None and in_framework(file, block):
        return True
    lines = file.text.split("\n")[loop.span.start_line - 1 : loop.span.end_line]
    if _BREAKS.search("\n".join(lines)):
        return True
    return computes_gradients(file, scope_of(file, call.span)) or not _on_device(file, loop)


def _on_device(file: SourceFile, loop: Loop) -> bool:
    """Whether batches go to a device in the loop, or the model did before."""
    lines = file.text.split("\n")
    inside = "\n".join(lines[loop.span.start_line - 1 : loop.span.end_line])
    return _ON_DEVICE.search(inside) is not None


def _outlives(file: SourceFile, name: str, loop: Loop, call: CallSite) -> bool:
    """Whether a list is begun outside of the loop, and not begun anew or emptied in it."""
    begun = list(_begun(file, name))
    if any(loop.span.contains(item.span) for item, _ in begun):
        return False
    emptied = (other for other in file.calls_in(loop.span) if other.receiver == name)
    if any(other.method in ("clear", "pop", "popleft") for other in emptied):
        return False
    passed = (other for other in file.calls_in(loop.span) if other.span != call.span)
    if any(argument.code == name for other in passed for argument in other.arguments):
        return False
    return any(item.function == call.function and re.fullmatch(r"\[\]|list\(\)", code) for item, code in begun)


def _begun(file: SourceFile, name: str) -> Iterator[tuple[Assignment, str]]:
    """Assignments of a name, each with what it is given: also of several at once, `a, b = [], []`."""
    for item in file.assignments:
        targets, codes = (tuple(part.strip() for part in text.split(",")) for text in (item.target, item.code))
        if item.target == name and not item.operator:
            yield item, item.code
        elif name in targets and not item.operator:
            yield item, codes[targets.index(name)] if len(codes) == len(targets) else item.code


def _hit(file: SourceFile, argument: Argument, run: CallSite, name: str) -> Hit:
    graph = "" if no_gradients(run) else ", each with the activations it was computed from"
    method = ".cpu()" if no_gradients(run) else ".detach().cpu()"
    edits: tuple[Edit, ...] = ()
    if _SIMPLE.fullmatch(argument.code) and not _is_record(file, argument):
        edits = (file.edit(argument.span, f"{argument.code}{method}"),)
    return Hit(
        f"`{name}` collects outputs of the model on the device, batch after batch{graph}",
        argument.span,
        Fix(
            f"Append `{argument.code}{method}`, or reduce it before it is kept.",
            FixSafety.UNSAFE,
            "what reads the list gets tensors in main memory, and may compare them with others on the device",
            edits=edits,
        ),
    )


def _is_record(file: SourceFile, argument: Argument) -> bool:
    """Whether the value is an object with several outputs, which has no `.cpu()`."""
    if argument.origin is None or argument.origin.through:
        return False
    parts = r"logits|loss|pooler_output|last_hidden_state|hidden_states|image_embeds|pred_\w+"
    return re.search(rf"\b{re.escape(argument.code)}(?:\.(?:{parts})\b|\[['\"])", file.text) is not None


def _comprehensions(file: SourceFile) -> Iterator[Hit]:
    """`[model(batch.to(device)) for batch in loader]`."""
    for loop in file.loops:
        if loop.kind != "comprehension":
            continue
        for call in file.calls_in(loop.span):
            if model_of(file, call) is None or data_loop(file, call) is not loop:
                continue
            code = _text(file, loop.span)
            whole = re.fullmatch(r"\[\s*(?P<item>.*?)\s+for\s.*\]", code, re.DOTALL)
            if whole is None or whole["item"] != call.code or _exempt(file, call, loop):
                continue
            kept = any(item.span == loop.span and item.target != "return" for item in file.assignments)
            if kept:
                argument = Argument(call.code, call.span)
                yield _hit(file, argument, call, "the list")


def _text(file: SourceFile, span: Span) -> str:
    lines = file.text.split("\n")[span.start_line - 1 : span.end_line]
    if not lines:
        return ""
    lines[-1] = lines[-1][: span.end_column]
    lines[0] = lines[0][span.start_column :]
    return "\n".join(lines)


RULE = Rule(
    slug="outputs-kept-on-device",
    family="memory",
    title="Outputs of a whole data set are collected on the GPU",
    level=Level.WARNING,
    log=absent("what it leads to in a log are rules of their own: cuda-oom and memory-leak"),
    source=SourceFacet((".append(", ".extend(", " for "), _examine),
    before=absent("the code of a run is read by lint, which the check asks"),
    during=absent("growing memory of a running job is watched by memory-leak"),
    module=__name__,
)
