"""Evaluation and prediction in a source file: where models are run over data, under which modes and guards."""

from __future__ import annotations

import re

from snellen.core.code.loaders import loader_behind
from snellen.core.code.mode import called, no_gradients
from snellen.core.code.training import backwards
from snellen.core.source import CallSite, ClassBlock, FunctionBlock, Loop, SourceFile, Span

__all__ = [
    "called_without_gradients",
    "computes_gradients",
    "data_loop",
    "evaluates",
    "in_framework",
    "model_of",
    "over_data",
]

_MODEL = re.compile(
    r"(?i)^(?:self\.|cls\.)?(?:\w+\.)?(?:\w*_)?(?:model|net|network|encoder|backbone|extractor|detector|classifier"
    r"|segmenter|student|teacher|generator|discriminator|predictor|vit|dino\w*|unet\w*|resnet\w*|module|transformer)"
    r"(?:_\w{1,12}|\d)?$"
)
_FUNCTION = re.compile(
    r"(?i)^(?:build|create|get|load|make|init\w*|save|export|run|train|eval\w*|test|fit|compile|setup|prepare|validat\w*"
    r"|print|summar\w*|count|count_\w*|define|register|convert|is|has|wrap|unwrap|update|copy|select|choose|add|set)_"
)
_RUNS = frozenset(
    (
        *("forward", "encode_image", "encode_text", "forward_features", "extract_features", "get_image_features"),
        *("get_text_features", "get_intermediate_layers", "generate", "forward_encoder", "extract_feat"),
    )
)
_DATA = re.compile(
    r"(?i)loader|data_?set|\bbatches\b|\bimages\b|\bimgs\b|\bframes\b|\bfiles\b|\bpaths\b|image_paths|_dl\b|\bdl\b|\bdata\b"
    r"|data_?iter|samples\b|videos?\b|\bbatch_size\b"
)
_EVALUATES = re.compile(
    r"(?i)(?:^|_)(?:val|valid|validat\w*|test|testing|eval\w*|predict\w*|infer\w*|extract\w*|embed\w*|encode\w*|caption\w*"
    r"|detect\w*|segment\w*|classify|score\w*|features?|demo|submission)(?:_|$)"
)
_FRAMEWORKS = re.compile(
    r"(?:^|\.)(?:LightningModule|LightningDataModule|Trainer|Seq2SeqTrainer|TestCase|Callback|BaseModel|Learner|Engine)$"
)
_MODULES = re.compile(r"(?:^|\.)(?:Module|Sequential|LightningModule|PreTrainedModel|Function)$")
_GRADIENTS = re.compile(
    r"autograd\.grad\(|requires_grad_\((?!False)|requires_grad\s*=\s*True|\.grad\b(?!_)|retain_grad\(|create_graph"
    r"|register_(?:full_)?backward_hook|GradientTape|torch\.func\.|vmap\(|saliency|grad_?cam|attack|\.backward\b",
    re.IGNORECASE,
)
_DEEPEST, _MOST_CALLERS = 2, 60


def model_of(file: SourceFile, call: CallSite) -> str | None:
    """The name of the model that a call runs: `model(x)`, `self.net.forward(x)`, `encoder.encode_image(x)`."""
    if call.method in _RUNS and call.name.startswith(".") and call.receiver is not None:
        return call.receiver if _MODEL.match(call.receiver) else None
    name = called(call)
    if not name or call.code.endswith("()") or not _MODEL.match(name):
        return None
    last, root = name.rpartition(".")[2], name.partition(".")[0]
    known = {block.name.rpartition(".")[2] for block in file.functions}
    if _FUNCTION.match(last) or last in known or root in file.imports or last[:1].isupper():
        return None
    return name


def data_loop(file: SourceFile, call: CallSite) -> Loop | None:
    """The innermost loop or comprehension over data around a call in its own function."""
    around = [loop for loop in file.loops_around(call.span) if loop.function == call.function]
    return next((loop for loop in reversed(around) if over_data(loop)), None)


def over_data(loop: Loop) -> bool:
    """Whether a loop goes over a data set: over a loader, or over something that is named like one."""
    made_by = loop.origin.call.code if loop.origin is not None else ""
    known = loader_behind(loop.origin) is not None or _DATA.search(loop.header) is not None
    return known or _DATA.search(made_by[:200]) is not None


def evaluates(block: FunctionBlock) -> bool:
    """Whether the name of a function says that it evaluates, predicts or extracts features.

    Example:
        >>> evaluates(FunctionBlock("validate_epoch", Span(1, 0, 2, 0)))
        True
    """
    return _EVALUATES.search(block.name.rpartition(".")[2]) is not None


def in_framework(file: SourceFile, block: FunctionBlock) -> bool:
    """Whether a function belongs to a module, or to a class that a framework calls with modes and guards of its own."""
    owner = block.name.rpartition(".")[0]
    classes: list[ClassBlock] = [cls for cls in file.classes if cls.name == owner]
    bases = [base for cls in classes for base in cls.bases]
    known = [base for cls in file.classes if cls.name in bases for base in cls.bases]
    return any(_FRAMEWORKS.search(base) or _MODULES.search(base) for base in (*bases, *known))


def computes_gradients(file: SourceFile, span: Span) -> bool:
    """Whether gradients are wanted in a stretch: a backward pass, an attack, a saliency map."""
    if any(span.contains(backward.call.span) for backward in backwards(file)):
        return True
    lines = file.text.split("\n")[span.start_line - 1 : span.end_line]
    return _GRADIENTS.search("\n".join(lines)) is not None


def called_without_gradients(file: SourceFile, block: FunctionBlock) -> bool:
    """Whether some caller of a function, or a caller of that, switches gradients off.

    Where too many functions may be callers to look at them all, one of them is taken to do so.
    """
    waiting: list[tuple[SourceFile, FunctionBlock, int]] = [(file, block, 0)]
    seen = {(file.path, block.name)}
    while waiting:
        place, callee, depth = waiting.pop(0)
        name = callee.name.rpartition(".")[2]
        for part in (file, *file.elsewhere):
            if name not in part.text:
                continue
            if re.search(r"set_grad_enabled\(\s*(?:mode\s*=\s*)?False", part.text):
                return True
            for call in part.calls:
                if call.method != name or (part is place and callee.span.contains(call.span)):
                    continue
                if no_gradients(call) or any("set_grad_enabled" in context for context in call.contexts):
                    return True
                outer = part.function_around(call.span) if depth < _DEEPEST else None
                if outer is not None and (part.path, outer.name) not in seen:
                    seen.add((part.path, outer.name))
                    waiting.append((part, outer, depth + 1))
        if len(seen) > _MOST_CALLERS:
            return True
    return False
