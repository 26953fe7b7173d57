"""Training and evaluation mode in a source file: who is trained in which loop, and what the mode is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.code.training import backwards, loop_around, neighbours, unwrapped, updates
from snellen.core.source import UNKNOWN, CallSite, Loop, SourceFile, Span

__all__ = ["Training", "called", "has_modes", "mode_calls", "no_gradients", "optimised", "trainings"]

_MODES = ("train", "eval")
_WITH_MODES = re.compile(
    r"(?i)dropout|batch_?norm|drop_?path|stochastic_?depth|instance_?norm|timm\.|torchvision\.|transformers\."
    r"|segmentation_models|torch\.hub|resnet|\.models\.|MultiheadAttention|Transformer|LSTM|GRU"
)
_OPTIMISERS = re.compile(r"torch\.optim\.(?!lr_scheduler|swa_utils)|timm\.optim\.|transformers\.|bitsandbytes\.")


@dataclass(frozen=True, slots=True)
class Training:
    """A loop that trains.

    Args:
        loop: The outermost loop around the computation of gradients in its function.
        batches: The innermost one.
        backward: Where gradients are computed.
        inside: Whether gradients are computed in a function that is called in the loop.
    """

    loop: Loop
    batches: Loop
    backward: CallSite
    inside: bool = False


def trainings(file: SourceFile) -> Iterator[Training]:
    """Every loop of a function whose rounds compute gradients and take steps, directly or in a function of the file."""
    steps = [update.call for update in updates(file)]
    for backward in backwards(file):
        place = backward.call.span
        batches = loop_around(file, place)
        stepped = any(step.function == backward.call.function for step in steps)
        if not stepped:
            continue
        if batches is not None:
            yield Training(_outermost(file, batches), batches, backward.call)
        block = file.function_around(place)
        name = block.name.rpartition(".")[2] if block is not None else None
        for call in file.calls:
            around = loop_around(file, call.span) if call.method == name and call.receiver in (None, "self") else None
            if around is not None and block is not None and not block.span.contains(call.span):
                yield Training(_outermost(file, around), around, call, inside=True)


def _outermost(file: SourceFile, loop: Loop) -> Loop:
    around = loop
    while True:
        wider = [o for o in file.loops_around(around.span) if o.span != around.span and o.kind != "comprehension"]
        wider = [other for other in wider if other.function == loop.function]
        if not wider:
            return around
        around = wider[0]


def mode_calls(file: SourceFile, span: Span, name: str | None = None) -> Iterator[tuple[CallSite, bool | None]]:
    """Calls that set the mode in a stretch: `True` for training, `False` for evaluation, `None` when it depends.

    Args:
        file: The file.
        span: The stretch.
        name: Of which object; of any without it.
    """
    for call in file.calls_in(span):
        if call.method not in _MODES or call.receiver is None or (name is not None and call.receiver != name):
            continue
        if call.method == "eval":
            if not call.arguments:
                yield call, False
        elif not call.arguments:
            yield call, True
        elif len(call.arguments) == 1:
            value = call.arguments[0].value
            yield call, None if value is UNKNOWN else bool(value)


def called(call: CallSite) -> str:
    """The name of the object or function that is called directly; `""` for a method of something computed."""
    name = call.code.partition("(")[0]
    if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
        return ""
    direct = name.rpartition(".")[2] == call.method or (call.method == "forward" and call.receiver == name)
    return name if direct else ""


def no_gradients(call: CallSite) -> bool:
    """Whether a call stands where no gradient is computed."""
    return any("no_grad" in context or "inference_mode" in context for context in call.contexts)


def optimised(file: SourceFile, name: str) -> bool:
    """Whether an optimiser of the file is given the parameters of an object of that name."""
    wanted = re.compile(rf"(?<![\w.]){re.escape(name)}\.(?:named_)?parameters\(")
    for call in file.calls:
        known = _OPTIMISERS.match(call.name) or re.search(r"(?i)optim|adam|sgd", call.method)
        if known and any(wanted.search(argument.code) for argument in call.arguments):
            return True
    return any(wanted.search(item.code) and "param" in item.target.lower() for item in file.assignments)


def has_modes(file: SourceFile, call: CallSite) -> bool:
    """Whether the module that is called behaves differently in its two modes, as far as its source is at hand.

    A network of the project without dropout and batch normalisation does not; one that cannot be looked into may.
    """
    origin = unwrapped(call.receiver_origin)
    own = {block.name for other in (file, *neighbours(file)) for block in other.classes}
    if origin is None or origin.name.rpartition(".")[2] in own:
        return not own or any(_classes_have_modes(other, own) for other in (file, *neighbours(file)))
    if origin.name == "torch.nn.Sequential":
        return _WITH_MODES.search(origin.call.code) is not None
    return not origin.name.startswith("torch.nn.")


def _classes_have_modes(file: SourceFile, own: set[str]) -> bool:
    if "self.training" in file.text:
        return True
    for block in file.classes:
        for call in file.calls_in(block.span):
            last = call.name.rpartition(".")[2]
            unknown = last[:1].isupper() and not call.name.startswith("torch.") and last not in own
            if unknown or _WITH_MODES.search(call.name):
                return True
    return False
