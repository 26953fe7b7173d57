"""Any backbone as one vector for an image, with the preprocessing that its makers use and a fingerprint of both.

clip_vit{b32,b16,l14,l14_336}               openai/CLIP, image tower, projected and not normalised
clip_rn{50,101,50x4,50x16,50x64}            openai/CLIP, likewise
dinov2_{vits14,vitb14,vitl14,vitg14}[_reg]  facebookresearch/dinov2, normalised class token
sam_vit_{b,l,h}                             Segment Anything, image embedding averaged over the picture
torchvision:resnet50[.IMAGENET1K_V2]        any classifier of torchvision, pooled features
timm:NAME or NAME                           any timm model, pooled features
transformers:REPOSITORY                     any vision model of transformers, pooled output or class token
pixels colour-histogram hog hog-colour      no weights at all
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from snellen.errors import ContractError, MissingExtraError, UsageError
from snellen.models.backbones import clip
from snellen.models.backbones.classical import CLASSICAL
from snellen.models.backbones.fetching import hub_access, weights_unreachable
from snellen.models.backbones.from_timm import ALIASES, build_timm, renamed_for, timm_name
from snellen.models.backbones.preprocessing import (
    CLIP,
    DINOV2,
    SAM,
    Preprocessing,
    from_timm,
    from_torchvision,
    from_transformers,
)
from snellen.models.contract import Contract
from snellen.models.weights.loading import load_into, read_state_dict

__all__ = ["EMBEDDERS", "Embedder", "embedder_of", "load_embedder", "official_state"]

_CLIP: Final = {
    "clip_vitb32": "vit_base_patch32_clip_quickgelu_224.openai",
    "clip_vitb16": "vit_base_patch16_clip_quickgelu_224.openai",
    "clip_vitl14": "vit_large_patch14_clip_quickgelu_224.openai",
    "clip_vitl14_336": "vit_large_patch14_clip_quickgelu_336.openai",
    "clip_rn50": "resnet50_clip.openai",
    "clip_rn101": "resnet101_clip.openai",
    "clip_rn50x4": "resnet50x4_clip.openai",
    "clip_rn50x16": "resnet50x16_clip.openai",
    "clip_rn50x64": "resnet50x64_clip.openai",
}
_SAM: Final = {
    "sam_vit_b": "samvit_base_patch16.sa1b",
    "sam_vit_l": "samvit_large_patch16.sa1b",
    "sam_vit_h": "samvit_huge_patch16.sa1b",
}
_LEVELS: Final = 3 / 255
_OWN_NORMALISATION: Final = ("googlenet", "inception_v3")
EMBEDDERS: Final = (*_CLIP, *(name for name in ALIASES if name.startswith("dinov2")), *_SAM, *CLASSICAL)
"""The short names; every name of timm is one, too."""


@dataclass(frozen=True, slots=True)
class Embedder:
    """A backbone that turns a batch of images into vectors.

    Args:
        name: As given.
        network: Takes `(B, 3, H, W)`, normalised; gives `(B, width)`. In evaluation mode.
        preprocessing: From a picture to its input.
        width: Length of a vector.
        contract: What it takes, and where its weights come from.
        fingerprint: Changes with architecture, weights and preprocessing: vectors of two fingerprints must not be
            compared.
    """

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    width: int
    contract: Contract
    fingerprint: str

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """Vectors of normalised images, float32.

        Args:
            images: Shape `(B, 3, H, W)`, on the network's device.
        """
        vectors: Tensor = self.network(images)
        return vectors.float()


def load_embedder(name: str, *, weights: Path | None = None, pretrained: bool = True) -> Embedder:
    """Build a backbone for embeddings.

    Args:
        name: As the module's table says.
        weights: A local file with its weights; the names of the official release are understood.
        pretrained: Fetch the published weights (from the hub's cache when they are there). `False` leaves them at
            random, which is good for tests only.

    Raises:
        UsageError: No such backbone; the nearest names are told.
        WeightsError: Weights that cannot be had, read or fitted; with every way that works without a network.
        ContractError: A processor of transformers that does more than its configuration says.
        MissingExtraError: The library that has it is not installed.

    Example:
        >>> from PIL import Image
        >>> embedder = load_embedder("hog")
        >>> embedder.embed(embedder.preprocessing.prepare(Image.new("RGB", (80, 60)))[None]).shape
        torch.Size([1, 768])
    """
    library, _, rest = name.partition(":")
    if name in CLASSICAL:
        if weights is not None:
            raise UsageError(f"{name} has no weights, {weights} was given", hint="name the backbone that they are of")
        return _classical(name)
    if library in _LIBRARIES and rest:
        return _LIBRARIES[library](name, rest, weights, pretrained)
    return _from_timm(name, name, weights, pretrained)


def _classical(name: str) -> Embedder:
    kind, preprocessing = CLASSICAL[name]
    return _finish(name, kind(), preprocessing, source="no weights needed", licence=None)


def _from_timm(name: str, rest: str, weights: Path | None, pretrained: bool) -> Embedder:
    model = _CLIP.get(rest) or _SAM.get(rest) or timm_name(rest, others=EMBEDDERS)
    # CLIP's last layer projects to the space that its embeddings are compared in; all others lose their classifier.
    fetch = pretrained and weights is None
    network = build_timm(model, pretrained=fetch, num_classes=None if rest in _CLIP else 0)
    config = network.pretrained_cfg
    source = str(config.get("hf_hub_id") or "timm") if fetch else "random"
    if rest in _SAM:
        network = _SpatialFeatures(network)
    if weights is not None:
        load_into(network, official_state(rest, read_state_dict(weights), network), source=str(weights))
        source = str(weights)
    if rest in _CLIP:
        side = config["input_size"][1]
        preprocessing = replace(CLIP, resize=side, crop=(side, side))
    elif rest in _SAM:
        preprocessing = SAM
    elif rest.startswith("dinov2_"):
        preprocessing = DINOV2
    else:
        preprocessing = from_timm(config)
    return _finish(name, network, preprocessing, source=source, licence=config.get("license"))


def embedder_of(name: str, network: nn.Module, preprocessing: Preprocessing, *, weights: str) -> Embedder:
    """An embedder of a network that is at hand, such as one that was trained here.

    Args:
        name: For people.
        network: Takes normalised images, gives one vector for each.
        preprocessing: From a picture to its input.
        weights: Where its weights come from, for people.
    """
    return _finish(name, network, preprocessing, source=weights, licence=None)


def official_state(name: str, state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """A state dict under the official names of a backbone, turned into those of its network here.

    Args:
        name: The backbone; names of timm and of the official release are understood.
        state: Names to tensors.
        network: The network of its embedder.
    """
    if isinstance(network, _SpatialFeatures):
        return {f"network.{key}": value for key, value in renamed_for(state, network.network).items()}
    if name in _CLIP and isinstance(network, VisionTransformer):
        return clip.renamed_from_official(state, network)
    return renamed_for(state, network)


class _SpatialFeatures(nn.Module):
    """The last feature map of a timm model, averaged over the picture."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network.forward_features(images)
        return features.mean(dim=(2, 3))


def _from_torchvision(name: str, rest: str, weights: Path | None, pretrained: bool) -> Embedder:
    models = importlib.import_module("torchvision.models")
    short, _, tag = rest.partition(".")
    if short not in models.list_models(module=models):
        nearest = [known for known in models.list_models(module=models) if known.startswith(short[:4])]
        hint = f"it has {', '.join(nearest[:6])}" if nearest else "list them with torchvision.models.list_models()"
        raise UsageError(f"torchvision has no classifier {short!r}", hint=hint, slug="unknown-model")
    entries = models.get_model_weights(short)
    entry = entries.DEFAULT if not tag else getattr(entries, tag, None)
    if entry is None:
        raise UsageError(f"torchvision has no weights {tag!r} of {short}", hint=", ".join(one.name for one in entries))
    fetch = pretrained and weights is None
    network = _torchvision_network(models, name, short, entry, fetch=fetch)
    source = str(entry) if fetch else "random"
    if weights is not None:
        load_into(network, read_state_dict(weights), source=str(weights))
        source = str(weights)
    _drop_classifier(network)
    return _finish(name, network, from_torchvision(entry), source=source, licence="BSD-3-Clause")


def _torchvision_network(models: Any, name: str, short: str, entry: Any, *, fetch: bool) -> nn.Module:
    """A classifier as its published weights need it, whether they are fetched or come from a local file."""
    if fetch:
        try:
            fetched: nn.Module = models.get_model(short, weights=entry)
        except (OSError, RuntimeError) as error:
            raise weights_unreachable(name, entry.url, error) from error
        return fetched
    # What torchvision sets by itself only when it fetches: the side of a transformer's table of positions, and
    # that Inception and GoogLeNet turn the normalisation of the others into their own.
    side = entry.transforms().crop_size[0]
    options: dict[str, Any] = {"image_size": side} if short.startswith("vit_") else {}
    if short in _OWN_NORMALISATION:
        # Their slow initialisation is about to be replaced in torchvision, which warns unless one is chosen.
        options = {"transform_input": True, "init_weights": False}
    network: nn.Module = models.get_model(short, weights=None, **options)
    return network


def _drop_classifier(network: nn.Module) -> None:
    """Let the network give what its last linear layer takes."""
    last, holder = "", network
    for path, module in network.named_modules():
        if isinstance(module, nn.Linear):
            last = path
    if not last:
        raise UsageError(f"{type(network).__name__} has no linear classifier to leave out", hint="use timm:NAME")
    *parents, leaf = last.split(".")
    for part in parents:
        holder = getattr(holder, part)
    setattr(holder, leaf, nn.Identity())


class _Pooled(nn.Module):
    """The pooled output of a model of transformers, or its class token."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        if hasattr(self.network, "get_image_features"):
            # A tensor in older versions of transformers.
            output = self.network.get_image_features(pixel_values=images)
        else:
            output = self.network(pixel_values=images)
        pooled = output if isinstance(output, Tensor) else getattr(output, "pooler_output", None)
        vectors: Tensor = output.last_hidden_state[:, 0] if pooled is None else pooled
        return vectors.flatten(1)


def _from_transformers(name: str, rest: str, weights: Path | None, pretrained: bool) -> Embedder:
    try:
        library = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingExtraError(
            "transformers is not installed", hint="pip install 'snellen[transformers]'", slug="missing-package"
        ) from error
    if weights is not None:
        raise UsageError(
            "transformers reads whole folders",
            hint=f"name transformers:{weights.parent} as the backbone, and no file of weights",
        )
    try:
        with hub_access():
            processor, _ = library.ImageProcessingMixin.get_image_processor_dict(rest)
            if pretrained:
                network = library.AutoModel.from_pretrained(rest, use_safetensors=True)
            else:
                network = library.AutoModel.from_config(library.AutoConfig.from_pretrained(rest))
            preprocessing = _known_preprocessing(
                rest, library.AutoImageProcessor.from_pretrained(rest, backend="pil"), processor
            )
    except (OSError, ValueError) as error:
        raise weights_unreachable(name, rest, error, folder="transformers:FOLDER") from error
    return _finish(name, _Pooled(network), preprocessing, source=rest if pretrained else "random", licence=None)


def _known_preprocessing(repository: str, processor: Any, config: Mapping[str, Any]) -> Preprocessing:
    """What a processor of transformers does, proven on a picture: some do more than their configuration says.

    Raises:
        ContractError: Its inputs are others than those that its configuration describes.
    """
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (61, 97, 3), dtype=np.uint8))
    expected = np.asarray(processor(images=picture)["pixel_values"][0])
    try:
        preprocessing = from_transformers(config)
        given = preprocessing.prepare(picture).numpy()
        # Three levels of 255: where Pillow's processor cannot be had, torchvision's rounds otherwise.
        same = given.shape == expected.shape and bool(
            np.abs(given - expected).max() <= _LEVELS / min(preprocessing.std)
        )
    except (KeyError, TypeError, ContractError):
        same = False
    if not same:
        raise ContractError(
            f"{repository}: its {type(processor).__name__} prepares pictures in a way that is not known here",
            hint="name the same network as timm has it: timm:NAME",
            slug="wrong-normalisation",
        )
    return preprocessing


_LIBRARIES: Final[Mapping[str, Callable[[str, str, Path | None, bool], Embedder]]] = {
    "timm": _from_timm,
    "torchvision": _from_torchvision,
    "transformers": _from_transformers,
}


def _finish(
    name: str, network: nn.Module, preprocessing: Preprocessing, *, source: str, licence: str | None
) -> Embedder:
    network = network.eval().requires_grad_(requires_grad=False)
    size = preprocessing.input_size or (224, 224)
    probe = _on_meta(network, size)
    contract = Contract(
        part=f"backbone {name}",
        out_channels=int(probe.shape[1]),
        mean=preprocessing.mean,
        std=preprocessing.std,
        licence=licence,
        weights=source,
    )
    return Embedder(name, network, preprocessing, int(probe.shape[1]), contract, _fingerprint(network, preprocessing))


def _on_meta(network: nn.Module, size: tuple[int, int]) -> Tensor:
    """The shape of its output without computing it."""
    state = {name: value.to("meta") for name, value in network.state_dict(keep_vars=True).items()}
    with torch.inference_mode():
        vectors: Tensor = torch.func.functional_call(network, state, (torch.zeros(1, 3, *size, device="meta"),))
    return vectors


def _fingerprint(network: nn.Module, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(json.dumps(replace(preprocessing, source="").to_dict(), default=str).encode())
    digest.update(repr(network).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        if value.device.type != "meta":
            digest.update(value.contiguous().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
