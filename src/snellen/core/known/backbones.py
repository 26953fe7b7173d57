"""Pretrained networks that a project names, and how their images have to be normalised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from snellen.core.calls import UNKNOWN, CallSite, Span
from snellen.core.code.trails import parts_of
from snellen.core.finding import Evidence, Location
from snellen.core.source import SourceFile

__all__ = [
    "CONSTANTS",
    "NETWORK_WORDS",
    "Backbone",
    "backbones",
    "kind_of_constants",
    "kind_of_name",
    "network_of",
    "only_kind",
    "place",
]

CONSTANTS: Final = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation, in RGB order and for values from 0 to 1, of the three families that nearly all use."""
NETWORK_WORDS: Final = ("torchvision", "timm", "from_pretrained", "clip", "segmentation_models", "hub.load")
"""Words of every file that names a pretrained network: triggers of rules that look for one in the other files."""
_TOLERANCE = 0.004
_DEEPEST = 6
_WRAPPERS = frozenset(
    {"torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel", "torch.compile", "torch.nn.Sequential"}
)
_HUBS = ("transformers.", "efficientnet_pytorch.")

_CLIP = re.compile(
    r"^(?:openai/clip-|laion/clip-|vit-[bl]-(?:16|32|14)(?:-336)?(?:-quickgelu|-laion\w*|-openai)?$|vit-[bl]/(?:16|32|14)"
    r"|rn50(?:x\d+)?$|rn101$|convnext_\w+\.clip_|(?:vit|resnet)\w*clip\w*\.openai|vitamin_|aimv2_|eva02?_\w+\.(?:mim|merged2b))"
)
_HALF = re.compile(
    r"^(?:google/vit-|google/siglip2?-|microsoft/beit-base-patch16-224-pt22k|vit_\w+_siglip\w*$|vit_\w+\.augreg"
    r"|vit_(?:tiny|small|base|large)_patch(?:16|32)_(?:224|384)$|flexivit_|resnetv2_\w+\.goog|inception_v4|inceptionv4"
    r"|inception_resnet_v2|inceptionresnetv2|xception\d*|nasnetalarge|pnasnet5large|mixer_\w+\.goog_in21k)"
)
_IMAGENET = re.compile(
    r"^(?:facebook/(?:dino|deit|convnext|vit-mae|regnet|levit)|microsoft/(?:resnet|swin|cvt)-"
    r"|dinov?[23]?_vit|\w*dinov2|\w+\.mae$|(?:timm-|tu-|se_)?(?:resnet|resnext|wide_resnet|densenet|vgg|mnasnet|regnet[xy]_"
    r"|shufflenet|squeezenet|alexnet|googlenet|swin_|swinv2_|swin_v2|deit|cait_|xcit_|hrnet|dla\d|mobilenet_?v2|mobilenet_v3"
    r"|mobilenetv3_large|efficientnet_?v?2?[-_]?[bsml]\d?|convnextv?2?_|pvt_|mit_b\d|seresnext?\d|senet154|skresn|ghostnet))"
)
_OTHER = re.compile(
    r"clip|openai|laion|yfcc|cc12m|miil|ra4_|e3600|sat493m|webli|\bjx_|advprop|_ap\b|\.in21k|mixnet|tf_|resnetv2|clip_|gluon"
    r"|_pruned|mlp|xxlarge|_rms|_150d|^efficientnet_b1$|cspresn|resnet\w*\.r160|resnetrs|^test_|timm-(?:tf_|efficientnet-.*advprop)"
)


@dataclass(frozen=True, slots=True)
class Backbone:
    """One pretrained network.

    Args:
        kind: `imagenet`, `clip`, `half`, or `inside` for a model that normalises its images itself.
        name: As the project names it.
        span: Where.
        path: In which file.
    """

    kind: str
    name: str
    span: Span
    path: str

    @property
    def evidence(self) -> Evidence:
        """The place that names it, as a fact that a finding rests on."""
        return Evidence(f"pretrained network: {self.name}", place(self.path, self.span))


def place(path: str, span: Span) -> Location:
    """A span as a place that people are told."""
    return Location(path, span.start_line, span.start_column + 1)


def kind_of_name(name: str) -> str | None:
    """The normalisation that a model name of timm, torchvision, transformers or open_clip stands for.

    `None` when the name is not known, or when its checkpoints do not agree.

    Example:
        >>> kind_of_name("resnet50"), kind_of_name("vit_base_patch16_clip_224.openai"), kind_of_name("my_net")
        ('imagenet', 'clip', None)
    """
    lower = name.strip().lower()
    if _CLIP.search(lower):
        return "clip"
    if _HALF.search(lower):
        return "half"
    return "imagenet" if _IMAGENET.search(lower) and not _OTHER.search(lower) else None


def kind_of_constants(mean: object, std: object = UNKNOWN) -> tuple[str, float] | None:
    """Whose mean and standard deviation these are, and the scale of the images: 1.0, or 255.0 for values up to 255.

    Example:
        >>> kind_of_constants([0.485, 0.456, 0.406])
        ('imagenet', 1.0)
        >>> kind_of_constants((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
        ('imagenet', 255.0)
    """
    means, stds = _triple(mean), _triple(std)
    if means is None:
        return None
    scale = 255.0 if max(means) > 2 else 1.0
    for kind, (own_mean, own_std) in CONSTANTS.items():
        fits = _near(means, own_mean, scale) and (stds is None or _near(stds, own_std, scale))
        if fits and (stds is not None or kind != "half"):
            return kind, scale
    return None


def _triple(value: object) -> tuple[float, ...] | None:
    items = (value,) * 3 if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if not isinstance(items, (tuple, list)) or len(items) not in (1, 3):
        return None
    numbers = [float(item) for item in items if isinstance(item, (int, float))]
    return None if len(numbers) != len(items) else tuple(numbers * (3 // len(numbers)))


def _near(given: tuple[float, ...], own: tuple[float, ...], scale: float) -> bool:
    return all(abs(one / scale - other) <= _TOLERANCE for one, other in zip(given, own, strict=True))


def backbones(file: SourceFile) -> Iterator[Backbone]:
    """The pretrained networks that the calls of a file load."""
    for call in file.calls:
        found = _loaded(call)
        if found is not None:
            yield Backbone(found[0], found[1], call.span, file.path)


def only_kind(file: SourceFile, *, project: bool = True) -> Backbone | None:
    """The network of a file, or else of its project, when all that are named want their images alike."""
    own = list(backbones(file))
    if not own and project:
        own = [backbone for other in parts_of(file)[1:] for backbone in backbones(other)]
    return own[0] if len({backbone.kind for backbone in own}) == 1 else None


def network_of(call: CallSite, file: SourceFile) -> Backbone | None:
    """The pretrained network that a call feeds: `model(x)`, `model.encode_image(x)`, or a class built around one."""
    origin = call.receiver_origin
    for _ in range(_DEEPEST):
        if origin is None:
            break
        found = _loaded(origin.call)
        if found is not None:
            return Backbone(found[0], found[1], origin.call.span, file.path)
        wrapped = origin.call.arguments[0].origin if origin.name in _WRAPPERS and origin.call.arguments else None
        if wrapped is None and origin.name.startswith("."):
            wrapped = origin.call.receiver_origin
        origin = wrapped
    owner = call.name.split(".")[-2] if call.name.endswith(".forward") else ""
    for part in parts_of(file) if owner else ():
        for block in part.classes:
            if block.name.rpartition(".")[2] == owner:
                return next((one for one in backbones(part) if block.span.contains(one.span)), None)
    return None


def _loaded(call: CallSite) -> tuple[str, str] | None:
    """Kind and name of the pretrained network that a call loads."""
    name, found = call.name, None
    if name.startswith("torchvision.models."):
        found = _torchvision(call)
    elif name == "clip.load" or name.startswith("open_clip.create_model"):
        found = _clip(call)
    elif name == "torch.hub.load":
        found = _hub(call)
    elif name == "timm.create_model" or name.endswith("timm.models.create_model"):
        found = _named(call, 0, "model_name") if _value(call, 1, "pretrained") is True else None
    elif name.startswith("segmentation_models_pytorch.") and call.method[:1].isupper():
        if _value(call, 2, "encoder_weights") in (UNKNOWN, "imagenet"):
            found = _named(call, 0, "encoder_name")
    elif name.endswith(".from_pretrained") and name.startswith(_HUBS) and "Tokenizer" not in name:
        found = _named(call, 0, "pretrained_model_name_or_path")
    return found


def _value(call: CallSite, position: int, name: str) -> object:
    argument = call.argument(position, name)
    return argument.value if argument is not None else UNKNOWN


def _named(call: CallSite, position: int, name: str) -> tuple[str, str] | None:
    value = _value(call, position, name)
    kind = kind_of_name(value) if isinstance(value, str) else None
    return (kind, str(value)) if kind is not None else None


def _clip(call: CallSite) -> tuple[str, str] | None:
    """CLIP; open_clip has SigLIP and networks with constants of their own, too."""
    model = _value(call, 0, "model_name" if call.name != "clip.load" else "name")
    if not isinstance(model, str) or "mobileclip" in model.lower():
        return None
    return "half" if "siglip" in model.lower() else "clip", f"{call.name.partition('.')[0]} {model}"


def _torchvision(call: CallSite) -> tuple[str, str] | None:
    model = call.method
    if model == "get_model":
        chosen = _value(call, 0, "name")
        model = chosen if isinstance(chosen, str) else ""
    if (
        not model
        or model[:1].isupper()
        or ".optical_flow" in call.name
        or ".video" in call.name
        or "_backbone" in model
    ):
        return None
    if re.search(r"rcnn_|retinanet_|^fcos_|^ssd(?:lite)?\d", model):
        return "inside", model
    if not model[-1].isdigit() and not re.search(r"vgg|net|vit|swin|convnext|deeplab|fcn|resne", model):
        return None
    weights, pretrained = call.argument(99, "weights"), call.argument(0, "pretrained")
    given = weights or pretrained or call.argument(99, "weights_backbone")
    if given is None or given.value in (None, False):
        return None
    told = given.value is True or isinstance(given.value, str) or "_Weights" in given.code
    return ("imagenet", f"{model}({given.name}={given.code})" if given.name else model) if told else None


def _hub(call: CallSite) -> tuple[str, str] | None:
    repository, model = _value(call, 0, "repo_or_dir"), _value(call, 1, "model")
    if not isinstance(repository, str) or not isinstance(model, str):
        return None
    if "facebookresearch/dino" in repository:
        return "imagenet", model
    trained = _value(call, 99, "pretrained") is True or call.argument(99, "weights") is not None
    if repository.startswith("pytorch/vision") and trained:
        return "imagenet", model
    return None
