"""Networks of a source file: which objects are modules, and with which operation their output ends."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snellen.core.code.training import neighbours, unwrapped
from snellen.core.finding import Edit, Evidence, Fix, FixSafety, Location
from snellen.core.source import Argument, CallSite, Origin, SourceFile

__all__ = ["Ending", "ending_of", "fix_of_ending", "frozen_statistics", "is_module", "module_classes"]

_FACTORIES = (
    *("torchvision.models.", "timm.create_model", "timm.models.", "torch.hub.load", "segmentation_models_pytorch."),
    "transformers.",
)
_BASES = frozenset({"torch.nn.Module", "torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict"})
_ASKED = frozenset({"parameters", "named_parameters", "children", "named_children", "modules", "eval"})
_PARTS = frozenset(
    (
        *("fc", "features", "classifier", "backbone", "encoder", "decoder", "head", "heads", "conv1", "bn1", "layer1"),
        *("layer2", "layer3", "layer4", "blocks", "patch_embed", "norm", "stem", "body", "neck", "trunk"),
    )
)
"""Names that modules carry in the usual libraries, and parameters nowhere."""
_KEPT = frozenset(
    (
        *("view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "flatten", "to", "cpu"),
        *("cuda", "float", "half", "double", "bfloat16", "clone", "type", "requires_grad_", "train", "eval"),
    )
)
_FORMS = {
    "softmax": ("torch.softmax", "torch.nn.functional.softmax", ".softmax", "torch.nn.Softmax.forward"),
    "sigmoid": ("torch.sigmoid", "torch.nn.functional.sigmoid", ".sigmoid", "torch.nn.Sigmoid.forward"),
}
_KINDS = {name: kind for kind, names in _FORMS.items() for name in names} | {
    "torch.nn.Softmax2d.forward": "softmax",
    "torch.special.expit": "sigmoid",
    "torch.sigmoid_": "sigmoid",
}
_LAYERS = {"torch.nn.Softmax": "softmax", "torch.nn.Softmax2d": "softmax", "torch.nn.Sigmoid": "sigmoid"}
_HEADS = ("fc", "classifier", "head", "heads", "last_linear", "heads.head", "head.fc", "classifier[-1]")
_DEEPEST = 6
_NORMALISED = re.compile(
    r"(?i)(?:se_?)?res(?:net|ne[sx]t)|wide_resnet|densenet|mobile_?net|efficientnet|regnet|inception|googlenet|mnasnet"
    r"|shufflenet|vgg\d+_bn|xception|dpn|darknet"
)


@dataclass(frozen=True, slots=True)
class Ending:
    """The operation that a value ends with.

    Args:
        kind: `softmax` or `sigmoid`.
        call: The call that applies it, or that makes the layer.
        file: Where it stands.
        layer: The layer among the arguments of a `Sequential` or of a library's constructor, if it is one.
    """

    kind: str
    call: CallSite
    file: SourceFile
    layer: Argument | None = None

    @property
    def told(self) -> str:
        """What it is called in a sentence."""
        return "softmax" if self.kind == "softmax" else "the sigmoid"

    @property
    def evidence(self) -> Evidence:
        """Where it is applied."""
        at = self.layer or self.call
        place = Location(self.file.path, at.span.start_line, at.span.start_column + 1)
        return Evidence(f"{self.told} is applied here: {at.code[:120]}", place)


def module_classes(file: SourceFile) -> Iterator[tuple[SourceFile, str]]:
    """The project's own classes that are modules, each with the file that it stands in."""
    known = {(other.path, block.name): (other, block) for other in (file, *neighbours(file)) for block in other.classes}
    modules = {
        block.name.rpartition(".")[2]
        for _, block in known.values()
        if any(base in _BASES or base.endswith(".LightningModule") for base in block.bases)
    }
    for _ in range(_DEEPEST):
        more = {
            block.name.rpartition(".")[2]
            for _, block in known.values()
            if any(base.rpartition(".")[2] in modules for base in block.bases)
        }
        if more <= modules:
            break
        modules |= more
    return ((other, block.name) for other, block in known.values() if block.name.rpartition(".")[2] in modules)


def is_module(file: SourceFile, name: str, origin: Origin | None) -> bool:
    """Whether an object is a module, by the call that made it or by what else is done with it."""
    if any(block.name.endswith(".requires_grad") for other in (file, *neighbours(file)) for block in other.functions):
        return False
    told = _told_by_maker(file, origin.name) if origin is not None else None
    if told is not None:
        return told
    if any(call.receiver == name and call.method in _ASKED for call in file.calls):
        return True
    root, _, part = name.rpartition(".")
    return part in _PARTS and root != "" and any(c.receiver == root and c.method in _ASKED for c in file.calls)


def _told_by_maker(file: SourceFile, made: str) -> bool | None:
    last = made.rpartition(".")[2]
    if made.startswith("torch.nn.") and not made.startswith(("torch.nn.functional.", "torch.nn.init.")):
        return last[:1].isupper() and not last.endswith(("Parameter", "Buffer"))
    if made.startswith(_FACTORIES):
        return True
    if last[:1].isupper():
        return last in {cls.rpartition(".")[2] for _, cls in module_classes(file)}
    return False if made.startswith("torch.") else None


def ending_of(file: SourceFile, origin: Origin | None, depth: int = _DEEPEST) -> Ending | None:
    """The softmax or sigmoid that a value ends with, however it was applied; `None` when it ends with anything else."""
    if origin is None or depth == 0 or not _KEPT.issuperset(origin.through):
        return None
    call = origin.call
    if origin.name in _KINDS:
        return Ending(_KINDS[origin.name], call, file)
    if call.name == "self" or (call.method == "forward" and call.receiver == "self"):
        return _ending_of_class(file, call.function.split(".")[0], depth)
    module = unwrapped(call.receiver_origin)
    if module is None or not _KEPT.issuperset(module.through):
        return None
    called = call.receiver if call.method == "forward" else call.code.partition("(")[0]
    return _ending_of_head(file, called or "", module, depth) or _ending_of_module(file, module, depth)


def fix_of_ending(file: SourceFile, use: CallSite, argument: Argument, ending: Ending) -> Fix:
    """What to do about a softmax or sigmoid before a loss that expects logits.

    Args:
        file: Where the loss is called.
        use: The call of the loss.
        argument: What it is given.
        ending: What `ending_of` says of that.
    """
    made = _without_ending(file, use, argument, ending)
    if made is None:
        text = f"Give the loss what {ending.told} is applied to; use the probabilities for nothing but predictions."
        return Fix(text)
    edit, changes_output = made
    if changes_output:
        text = f"Let the model return logits; apply {ending.told} where probabilities are needed."
        return Fix(text, FixSafety.UNSAFE, "predictions are logits from then on", (edit,))
    return Fix("Give the loss the logits.", FixSafety.UNSAFE, "the loss and its gradients become others", (edit,))


def _without_ending(file: SourceFile, use: CallSite, argument: Argument, ending: Ending) -> tuple[Edit, bool] | None:
    """The edit that takes it away from a value, and whether the model's own output changes with it."""
    if ending.layer is not None:
        if ending.layer.name == "activation":
            return ending.file.edit(ending.layer.span, "None"), True
        prefix = re.match(r"[A-Za-z_][\w.]*\.(?=[A-Z])", ending.layer.code)
        # An identity in its place keeps the names of the weights that follow or are saved.
        return (ending.file.edit(ending.layer.span, f"{prefix[0]}Identity()"), True) if prefix else None
    inner, given = _inner(ending.call), ending.call.target
    if inner is None:
        return None
    if argument.span.contains(ending.call.span):
        return file.edit(ending.call.span, inner), False
    if ending.call.target == argument.code and ending.file is file and ending.call.function == use.function:
        simple = re.fullmatch(r"[A-Za-z_][\w.]*", inner) is not None and inner != argument.code
        return (file.edit(argument.span, inner), False) if simple else None
    returned = any(
        a.target == "return" and a.function == ending.call.function and (a.span == ending.call.span or a.code == given)
        for a in ending.file.assignments
    )
    return (ending.file.edit(ending.call.span, inner), True) if returned else None


def _inner(call: CallSite) -> str | None:
    """What a softmax or sigmoid is applied to, as an expression that can stand in its place."""
    if call.name.startswith(".") and call.method != "forward":
        text = call.receiver
    else:
        text = call.arguments[0].code if call.arguments else None
    if text is None or text.startswith("*"):
        return None
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return None
    return text if isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)) else f"({text})"


def _ending_of_module(file: SourceFile, module: Origin, depth: int) -> Ending | None:
    """What the output of a module ends with."""
    if module.name in _LAYERS:
        return Ending(_LAYERS[module.name], module.call, file)
    if module.name == "torch.nn.Sequential":
        last = module.call.arguments[-1] if module.call.arguments else None
        last = _last_entry(file, last) if last is not None and "OrderedDict" in last.code else last
        if last is None or last.origin is None or last.code.startswith("*"):
            return None
        if last.origin.name in _LAYERS:
            return Ending(_LAYERS[last.origin.name], module.call, file, last)
        return _ending_of_module(file, last.origin, depth - 1) if depth > 1 else None
    if module.name.startswith("segmentation_models_pytorch."):
        given = module.call.argument(99, "activation")
        kind = {"sigmoid": "sigmoid", "softmax": "softmax", "softmax2d": "softmax"}.get(str(given and given.value))
        return Ending(kind, module.call, file, given) if kind is not None and given is not None else None
    return _ending_of_class(file, module.name, depth)


def _last_entry(file: SourceFile, entries: Argument) -> Argument | None:
    """The last layer of `OrderedDict([("fc", nn.Linear(8, 2)), ("out", nn.Softmax(dim=1))])`."""
    inside = [call for call in file.calls_in(entries.span) if call.span.end != entries.span.end]
    last = max(inside, key=lambda call: (call.span.end, -call.span.start[0], -call.span.start[1]), default=None)
    return Argument(last.code, last.span, origin=Origin(last.name, last)) if last is not None else None


def _ending_of_class(file: SourceFile, name: str, depth: int) -> Ending | None:
    """What every `return` of the `forward` of one of the project's own classes ends with."""
    last = name.rpartition(".")[2]
    found = [(other, cls) for other, cls in module_classes(file) if cls == last]
    if len(found) != 1:
        return None
    other, cls = found[0]
    returned = [a for a in other.assignments if a.target == "return" and a.function == f"{cls}.forward"]
    endings: list[Ending] = []
    for item in returned:
        ending = ending_of(other, item.origin, depth - 1)
        if ending is None or "training" in "".join((*item.conditions, *ending.call.conditions)):
            return None
        endings.append(ending)
    return endings[0] if endings and len({ending.kind for ending in endings}) == 1 else None


def _ending_of_head(file: SourceFile, name: str, module: Origin, depth: int) -> Ending | None:
    """What a head ends with that was put in place of a library's own, as in `model.fc = nn.Sequential(...)`."""
    if not module.name.startswith(_FACTORIES):
        return None
    heads = {f"{name}.{head}" for head in _HEADS}
    given = [item for item in file.assignments if item.target in heads and item.origin is not None]
    return _ending_of_module(file, given[-1].origin, depth - 1) if given and given[-1].origin is not None else None


def frozen_statistics(file: SourceFile) -> Iterator[tuple[CallSite, str]]:
    """Frozen parts with batch norm that a call puts back into training mode: the call, and the part as it is named."""
    if "BatchNorm" in file.text or any(block.name.endswith(".train") for block in file.functions):
        return
    for name, origin in _frozen_parts(file):
        if not _has_batch_norm(origin) or _is_trained_later(file, name):
            continue
        yield from ((call, part) for call, part in _back_in_training(file, name) if call.in_loop)


def _is_trained_later(file: SourceFile, name: str) -> bool:
    """Whether the part is put into evaluation mode, made trainable again or given a new head."""
    for call in file.calls:
        released = call.method == "requires_grad_" and not (call.arguments and call.arguments[0].value is False)
        if call.receiver == name and (call.method == "eval" or released):
            return True
    for item in file.assignments:
        released = item.target.endswith(".requires_grad") and item.value is True
        owner = item.owner.call.receiver if item.owner is not None else None
        if released and owner is not None and f"{owner}.".startswith(f"{name}."):
            return True
        if item.target.startswith(f"{name}.") and item.call is not None and item.call.name != "torch.nn.Identity":
            return True
    return False


def _frozen_parts(file: SourceFile) -> Iterator[tuple[str, Origin | None]]:
    """Modules all of whose parameters are frozen."""
    for item in file.assignments:
        parameters = item.owner
        if item.target.endswith(".requires_grad") and item.value is False and not item.conditions and parameters:
            whole = parameters.name == ".parameters" and parameters.through == ("[]",)
            if whole and parameters.call.receiver is not None:
                yield parameters.call.receiver, parameters.call.receiver_origin
    for call in file.calls:
        frozen = call.method == "requires_grad_" and call.arguments and call.arguments[0].value is False
        if frozen and call.receiver is not None and not call.conditions:
            yield call.receiver, call.receiver_origin


def _has_batch_norm(origin: Origin | None) -> bool:
    made = unwrapped(origin)
    if made is None or not made.name.startswith(_FACTORIES):
        return False
    first = made.call.arguments[0].value if made.call.arguments else None
    if made.name.startswith("segmentation_models_pytorch."):
        return made.through[-1:] == (".encoder",) and (not isinstance(first, str) or bool(_NORMALISED.match(first)))
    named = first if made.name == "timm.create_model" else made.name.rpartition(".")[2]
    return _KEPT.issuperset(made.through) and isinstance(named, str) and bool(_NORMALISED.match(named))


def _back_in_training(file: SourceFile, name: str) -> Iterable[tuple[CallSite, str]]:
    """Calls of `train()` on the part itself, or on what it is a part of."""
    root, _, part = name.rpartition(".")
    classes = {block.name for block in file.classes}
    for call in file.calls_to(".train"):
        if call.arguments and call.arguments[0].value is not True:
            continue
        owner = unwrapped(call.receiver_origin)
        if call.receiver == name or (root not in ("", "self") and call.receiver == root):
            yield call, name
        elif root == "self" and owner is not None and owner.name in classes and _freezes(file, owner.name, name):
            yield call, f"{call.receiver}.{part}"


def _freezes(file: SourceFile, owner: str, name: str) -> bool:
    """Whether the part is frozen inside of the class that the object is of."""
    return any(
        block.name == f"{owner}.__init__"
        and re.search(rf"{re.escape(name)}\.(?:requires_grad_|parameters)", block.code)
        for block in file.functions
    )
