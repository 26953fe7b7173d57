"""Networks that are made with one output, and what is done with it that needs two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.code.layers import unpacks, whole
from snellen.core.code.makers import Makers
from snellen.core.source import CallSite, SourceFile

__all__ = ["OneClassOutput", "one_class_outputs"]

_SEGMENTERS = re.compile(
    r"^segmentation_models_pytorch\.(?:Unet|UnetPlusPlus|FPN|Linknet|MAnet|PAN|PSPNet|DeepLabV3|DeepLabV3Plus|UPerNet|Segformer|"
    r"create_model)$"
)
_TORCHVISION = re.compile(r"^torchvision\.models\.(?:segmentation\.)?[a-z]\w*$")
_CLASS_AXIS = frozenset({1, -3})
_ENTROPY = frozenset({"torch.nn.CrossEntropyLoss.forward", "torch.nn.functional.cross_entropy"})
_MODES = frozenset({".eval", ".train", ".to", ".cuda", ".half", ".float"})
_KEPT = frozenset({"to", "cuda", "cpu", "float", "half", "eval", "train", "requires_grad_"})


@dataclass(frozen=True, slots=True)
class OneClassOutput:
    """One output of a network where a choice among several is made.

    Args:
        call: What is done with it.
        maker: What makes the network.
        use: `loss` for a cross entropy, `choice` for an argmax or a softmax.
    """

    call: CallSite
    maker: CallSite
    use: str


def one_class_outputs(file: SourceFile) -> Iterator[OneClassOutput]:
    """Cross entropies, argmaxes and softmaxes over the one output of a network."""
    makers = Makers(file)
    for call in file.calls:
        use = _use(call)
        if use is None:
            continue
        if call.receiver is not None and use == "choice":
            made = makers.of_receiver(call)
        else:
            made = makers.of_argument(call.arguments[0], call) if call.arguments else None
        network = _network(made) if made is not None else None
        if network is not None:
            yield OneClassOutput(call, network, use)


def _use(call: CallSite) -> str | None:
    """What a call makes of the axis of the classes."""
    if call.name in _ENTROPY:
        return "loss"
    method = call.receiver is not None and call.name.startswith(".")
    if call.method in ("argmax", "softmax") and (method or call.name in ("torch.argmax", "torch.softmax")):
        axis = call.argument(0 if method else 1, "dim")
    elif call.name in ("torch.nn.functional.softmax", "torch.nn.functional.log_softmax"):
        axis = call.argument(1, "dim")
    else:
        return None
    return "choice" if axis is not None and axis.value in _CLASS_AXIS else None


def _network(call: CallSite) -> CallSite | None:
    """What made the network that a call runs, when it was made with one output."""
    origin = None if call.conditions else call.receiver_origin
    while origin is not None and origin.name in _MODES:
        origin = origin.call.receiver_origin
    if origin is None or call.name.startswith(".") or not set(origin.through) <= _KEPT or origin.call.conditions:
        return None
    maker = origin.call
    if _SEGMENTERS.match(maker.name):
        option = maker.argument(99, "classes")
        return maker if whole(option) == 1 or (option is None and not unpacks(maker)) else None
    if maker.name == "timm.create_model" or _TORCHVISION.match(maker.name):
        return maker if whole(maker.argument(99, "num_classes")) == 1 else None
    return None
