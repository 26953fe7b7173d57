"""A model is evaluated in training mode.

What happens
------------
Nothing is raised. Validation accuracy is lower than it should be and changes from run to run; the same image gets
another answer each time, or another one in another batch. Each evaluation also shifts the running statistics that the
checkpoint saves.

Why
---
A new module is in training mode. `torch.no_grad()` switches gradients off, not the mode: dropout still drops, batch
normalisation still uses the statistics of the batch at hand, and goes on averaging them into its own.

How to confirm
--------------
`model.training` is True in the evaluation loop. Two passes over the same image differ; with batch normalisation the
output for one image depends on the other images of its batch.

Fix
---
`model.eval()` before the loop, and `model.train()` before training goes on.

When it is something else
-------------------------
Models from `from_pretrained` (transformers) and loaded TorchScript archives are in evaluation mode already. Monte Carlo
dropout, the recomputation of batch statistics and test-time adaptation want training mode. Evaluation mode with
gradients on is `no-grad-missing`; training that goes on in evaluation mode is `training-in-eval-mode`.

Sources
-------
- Evaluation mode: https://docs.pytorch.org/docs/stable/notes/autograd.html#evaluation-mode-nn-module-eval
- `Module.eval`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.inference import computes_gradients, data_loop, evaluates, in_framework, model_of
from snellen.core.code.mode import has_modes, no_gradients
from snellen.core.code.training import insert_before, unwrapped, updates
from snellen.core.finding import Edit, Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import CallSite, FunctionBlock, Hit, Loop, SourceFile, Span

__all__ = ["RULE"]

_IN_EVALUATION_MODE = re.compile(
    r"from_pretrained$|(?:^|\.)clip\.load$|jit\.load$|^torch\.load$|hub\.load$|sam_model_registry|build_sam|load_model$"
    r"|InferenceSession|AutoBackend|^ultralytics\.|^deepface|pipeline$|create_model_and_transforms$|from_config$"
)
_WANTS_TRAINING = re.compile(r"(?i)mc_?dropout|monte.?carlo|update_bn|calibrat|recompute|adapt|tent|momentum|ema|swa")
_SETS_MODE = re.compile(r"\.eval\(|\.train\(|\.training\b|eval_mode|set_mode|evaluating\(|inference_wrapper")
_FACTORIES = ("timm.", "torchvision.models.", "segmentation_models_pytorch.")
_TEST_FILE = re.compile(r"(?:^|[\\/])(?:test_[^\\/]*|conftest|[^\\/]*_test)\.py$")


def _examine(file: SourceFile) -> Iterator[Hit]:
    if _TEST_FILE.search(file.path) or _SETS_MODE.search(_code(file)):
        return
    seen: set[str] = set()
    for call in file.calls:
        name = model_of(file, call) if no_gradients(call) else None
        loop = data_loop(file, call) if name is not None else None
        block = file.function_around(call.span) if loop is not None else None
        if name is None or loop is None or block is None or block.name in seen or call.function != block.name:
            continue
        seen.add(block.name)
        if not (evaluates(block) or _made_here(file, name)) or not _is_in_training_mode(file, call):
            continue
        if _exempt(file, block) or _prepared_elsewhere(file, name, block):
            continue
        message = f"`{name}` is evaluated in training mode: `{name}.eval()` is called nowhere"
        yield Hit(message, call.span, _fix(file, name, loop, block))


def _exempt(file: SourceFile, block: FunctionBlock) -> bool:
    """Whether a function trains, wants training mode, or is called by a framework that sets the mode."""
    if in_framework(file, block) or _WANTS_TRAINING.search(block.name) or computes_gradients(file, block.span):
        return True
    return any(block.span.contains(update.call.span) for update in updates(file))


def _code(file: SourceFile) -> str:
    return re.sub(r"#[^\n]*", "", file.text)


def _made_here(file: SourceFile, name: str) -> bool:
    """Whether the file itself makes the model, from a class or by a library."""
    made = [item.call.name for item in file.assignments if item.target == name and item.call is not None]
    return any(maker.startswith(_FACTORIES) or maker.rpartition(".")[2][:1].isupper() for maker in made)


def _is_in_training_mode(file: SourceFile, call: CallSite) -> bool:
    origin = unwrapped(call.receiver_origin)
    if origin is not None and (_IN_EVALUATION_MODE.search(origin.name) or "eval" in origin.through):
        return False
    if origin is not None and origin.name.rpartition(".")[2][:1].islower():
        return origin.name.startswith(_FACTORIES)
    return has_modes(file, call)


def _prepared_elsewhere(file: SourceFile, name: str, block: FunctionBlock) -> bool:
    """Whether another file of the project may set the mode: a caller of the function, or any for a model from there."""
    function = block.name.rpartition(".")[2]
    here = _made_here(file, name)
    return any(
        _SETS_MODE.search(part.text)
        and (not here or function in part.text or block.name.partition(".")[0] in part.text)
        for part in file.elsewhere
    )


def _fix(file: SourceFile, name: str, loop: Loop, block: FunctionBlock) -> Fix:
    outer = [other for other in file.loops_around(loop.span) if other.function == block.name] or [loop]
    around = [item for item in file.withs if item.span.contains(outer[0].span) and block.span.contains(item.span)]
    place = around[0].span if around else outer[0].span
    start = Span(place.start_line, place.start_column, place.end_line, place.end_column)
    edit: Edit | None = insert_before(file, start, f"{name}.eval()") if loop.kind != "comprehension" or around else None
    return Fix(
        f"Call `{name}.eval()` before the loop, and `{name}.train()` before training goes on.",
        FixSafety.UNSAFE,
        "the results change, which is the point; training that follows needs `.train()` again",
        edits=(edit,) if edit is not None else (),
    )


RULE = Rule(
    slug="eval-mode-missing",
    family="memory",
    title="A model is evaluated in training mode",
    level=Level.WARNING,
    log=absent("results that are a little worse look like any others"),
    source=SourceFacet(("no_grad", "inference_mode", ".eval(", ".train("), _examine),
    before=absent("the code of a run is read by lint, which the check asks"),
    during=absent("the engine sets the mode of what it evaluates itself"),
    module=__name__,
)
