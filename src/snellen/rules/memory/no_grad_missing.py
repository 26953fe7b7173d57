"""A model is evaluated while gradients are still recorded.

What happens
------------
Validation needs more memory than training, or runs out of it, `CUDA out of memory`, at a batch size that trains well.
Or it is only slower than it should be. The numbers that come out are right.

Why
---
`model.eval()` changes dropout and batch normalisation, nothing else. As long as gradients are enabled, every forward
pass keeps all activations for a backward pass that never comes. They go when the output goes; an output that is kept,
in a list or in a sum of losses, keeps them all.

How to confirm
--------------
`model(x).requires_grad` is True in the evaluation loop. `torch.cuda.max_memory_allocated()` falls by about the size of
the activations under `torch.no_grad()`.

Fix
---
`@torch.no_grad()` over the evaluation function, or `with torch.no_grad():` around its loop; `torch.inference_mode()`
where nothing that comes out is used in training.

When it is something else
-------------------------
Where gradients are wanted in evaluation mode (adversarial examples, Grad-CAM, frozen batch statistics in training) it
is right as it is. Lightning, the Hugging Face `Trainer` and Ignite switch gradients off themselves. Modes that are
missing are `eval-mode-missing`.

Sources
-------
- Locally disabling gradient computation: https://docs.pytorch.org/docs/stable/notes/autograd.html#locally-disable-grad-doc
- `torch.no_grad`: https://docs.pytorch.org/docs/stable/generated/torch.no_grad.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.inference import called_without_gradients, computes_gradients, data_loop, evaluates, in_framework
from snellen.core.code.mode import called, no_gradients
from snellen.core.code.training import backwards, loop_around, scope_of
from snellen.core.finding import Edit, Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import CallSite, FunctionBlock, Hit, Loop, SourceFile, Span

__all__ = ["RULE"]

_METHODS = frozenset(
    (
        *("forward", "encode_image", "encode_text", "forward_features", "extract_features", "get_image_features"),
        *("get_text_features", "get_intermediate_layers", "extract_feat"),
    )
)
_TRACES = re.compile(r"onnx\.export|jit\.(?:trace|script)|torch\.export|fx\.|flop|profile\(|summary\(|ptflops|thop")
_TEST_FILE = re.compile(r"(?:^|[\\/])(?:test_[^\\/]*|conftest|[^\\/]*_test)\.py$")


def _examine(file: SourceFile) -> Iterator[Hit]:
    if _TEST_FILE.search(file.path):
        return
    seen: set[Span] = set()
    for mode in file.calls:
        if not _sets_evaluation(mode) or mode.receiver is None or mode.conditions:
            continue
        block = file.function_around(mode.span)
        scope = scope_of(file, mode.span)
        found = next(((run, loop) for run, loop in _runs(file, mode, block) if not _guarded(run)), None)
        if scope in seen or found is None or _exempt(file, block, scope) or _frozen(file, mode.receiver):
            continue
        run, loop = found
        trains = _trains(file, block, scope)
        if trains and not _validates_after_training(file, mode, loop):
            continue
        seen.add(scope)
        where = f"`{block.name.rpartition('.')[2]}` runs" if block is not None and not trains else "this loop runs"
        message = (
            f"{where} `{mode.receiver}` in evaluation mode with gradients on: all activations are kept for nothing"
        )
        yield Hit(message, run.span, _fix(file, None if trains else block))


def _sets_evaluation(call: CallSite) -> bool:
    if call.method == "eval" and call.name.startswith("."):
        return not call.arguments
    return call.method == "train" and len(call.arguments) == 1 and call.arguments[0].value is False


def _exempt(file: SourceFile, block: FunctionBlock | None, scope: Span) -> bool:
    if block is not None and (in_framework(file, block) or called_without_gradients(file, block)):
        return True
    if block is None and any(call.method == "set_grad_enabled" for call in file.calls if not call.function):
        return True
    return block is not None and _TRACES.search(_text(file, scope)) is not None


def _trains(file: SourceFile, block: FunctionBlock | None, scope: Span) -> bool:
    """Whether gradients are wanted somewhere in the same function."""
    if block is not None:
        return computes_gradients(file, scope)
    # At the top of a file only what stands outside of functions counts.
    return any(not backward.call.function for backward in backwards(file))


def _validates_after_training(file: SourceFile, mode: CallSite, loop: Loop) -> bool:
    """Whether a function trains in one loop, and evaluates in another one that no gradient is taken of."""
    here = [backward.call.span for backward in backwards(file) if backward.call.function == mode.function]
    before = [span for span in here if span.end <= mode.span.start]
    if not before or len(before) != len(here) or loop.span.contains(mode.span) or computes_gradients(file, loop.span):
        return False
    around = file.calls if not mode.function else [call for call in file.calls if call.function == mode.function]
    return any(call.receiver == mode.receiver and call.method == "train" and not call.arguments for call in around)


def _runs(file: SourceFile, mode: CallSite, block: FunctionBlock | None) -> Iterator[tuple[CallSite, Loop]]:
    """Calls of a model over data after it was put into evaluation mode in the same function, each with its loop."""
    name = mode.receiver
    for call in file.calls:
        if call.function != mode.function or call.span.start < mode.span.end:
            continue
        direct = called(call) == name and not call.code.endswith("()")
        if direct or (call.receiver == name and call.method in _METHODS and call.name.startswith(".")):
            inner = loop_around(file, call.span)
            endless = inner is not None and inner.kind == "while" and block is not None and evaluates(block)
            loop = inner if endless else data_loop(file, call)
            if loop is not None:
                yield call, loop


def _guarded(call: CallSite) -> bool:
    return no_gradients(call) or any("grad" in context.lower() for context in call.contexts)


def _text(file: SourceFile, span: Span) -> str:
    return "\n".join(file.text.split("\n")[span.start_line - 1 : span.end_line])


def _frozen(file: SourceFile, name: str) -> bool:
    """Whether no parameter of the model wants a gradient."""
    loops = rf"for \w+ in {re.escape(name)}\.parameters\(\):\s*\n?\s*\w+\.requires_grad(?:_\(False\)|\s*=\s*False)"
    return re.search(rf"{re.escape(name)}\.requires_grad_\(False\)|{loops}", file.text) is not None


def _fix(file: SourceFile, block: FunctionBlock | None) -> Fix:
    torch = next((local for local, name in file.imports.items() if name == "torch"), None)
    if block is None or torch is None:
        return Fix("Put `with torch.no_grad():` around the loop.")
    line = file.text.split("\n")[block.span.start_line - 1]
    indent = line[: block.span.start_column]
    start = Span(block.span.start_line, block.span.start_column, block.span.start_line, block.span.start_column)
    break_ = "\r\n" if "\r\n" in file.text else "\n"
    edits: tuple[Edit, ...] = ()
    if not indent.strip():
        edits = (file.edit(start, f"@{torch}.no_grad(){break_}{indent}"),)
    return Fix(
        f"Write `@{torch}.no_grad()` over `def {block.name.rpartition('.')[2]}`.",
        FixSafety.UNSAFE,
        "right unless somebody computes gradients of what the function returns",
        edits=edits,
    )


RULE = Rule(
    slug="no-grad-missing",
    family="memory",
    title="Evaluation records gradients",
    level=Level.WARNING,
    log=absent("what it leads to in a log are rules of their own: cuda-oom and memory-leak"),
    source=SourceFacet((".eval()", ".train(False)", ".train(mode=False)"), _examine),
    before=absent("the code of a run is read by lint, which the check asks"),
    during=absent("the engine evaluates without gradients by itself"),
    module=__name__,
)
