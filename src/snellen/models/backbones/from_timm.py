"""Any timm model as a dense feature extractor whose contract is read from timm's own configuration."""

from __future__ import annotations

import contextlib
import difflib
import functools
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from snellen.errors import UsageError
from snellen.models.backbones.fetching import hub_access, weights_unreachable
from snellen.models.backbones.positions import DINOV2_PLAIN, DINOV2_REGISTERS, use_interpolation
from snellen.models.contract import Contract, check_features
from snellen.models.weights.loading import LoadReport, compare_state, load_into, read_state_dict

__all__ = [
    "ALIASES",
    "TimmBackbone",
    "build_timm",
    "describe_backbone",
    "fit_of_weights",
    "load_backbone",
    "renamed_for",
    "timm_name",
]

ALIASES = {
    "dinov2_vits14": "vit_small_patch14_dinov2",
    "dinov2_vitb14": "vit_base_patch14_dinov2",
    "dinov2_vitl14": "vit_large_patch14_dinov2",
    "dinov2_vitg14": "vit_giant_patch14_dinov2",
    "dinov2_vits14_reg": "vit_small_patch14_reg4_dinov2",
    "dinov2_vitb14_reg": "vit_base_patch14_reg4_dinov2",
    "dinov2_vitl14_reg": "vit_large_patch14_reg4_dinov2",
    "dinov2_vitg14_reg": "vit_giant_patch14_reg4_dinov2",
}
"""The names of the DINOv2 repository, and timm's for the same architectures."""


class TimmBackbone(nn.Module):
    """A timm model that gives one feature map.

    Args:
        network: A timm model with `forward_intermediates`.
        index: Which intermediate feature map is given.
        contract: What it takes and gives.

    Input shape: `(B, 3, H, W)`, normalised as the contract says, sides multiples of `contract.side_multiple`.

    Output shape: `(B, contract.out_channels, H / contract.stride, W / contract.stride)`; never permute it.
    """

    def __init__(self, network: Any, *, index: int, contract: Contract) -> None:
        super().__init__()
        self.network = network
        self.index = index
        self.contract = contract

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalised images."""
        intermediates: Callable[..., list[Tensor]] = self.network.forward_intermediates
        features = intermediates(images, indices=[self.index], intermediates_only=True, stop_early=True)[0]
        check_features(features, self.contract, (images.shape[2], images.shape[3]))
        return features


def timm_name(name: str, *, others: Iterable[str] = ()) -> str:
    """The name that timm has for a backbone.

    Args:
        name: As given.
        others: Names besides timm's that may have been meant.

    Raises:
        UsageError: timm has no such model; names the nearest.
    """
    resolved = ALIASES.get(name, name)
    base, _, tag = resolved.partition(".")
    if timm.is_model(base):
        if tag:
            _refuse_unknown_weights(base, tag)
        return resolved
    spelt = {_folded(known): known for known in (*timm.list_models(), *others, *ALIASES)}
    nearest = [spelt[close] for close in difflib.get_close_matches(_folded(name), spelt, n=3)]
    raise UsageError(
        f"no backbone named {name!r} in timm {timm.__version__}",
        hint=f"did you mean {' or '.join(nearest)}?" if nearest else "list them with timm.list_models()",
        slug="unknown-model",
    )


def _refuse_unknown_weights(base: str, tag: str) -> None:
    known = [full.partition(".")[2] for full in timm.models.get_arch_pretrained_cfgs(base)]
    if tag in known:
        return
    nearest = difflib.get_close_matches(tag, known, n=6, cutoff=0) or known[:6]
    raise UsageError(
        f"timm {timm.__version__} has no weights {tag!r} of {base}",
        hint=f"it has {', '.join(one or base for one in nearest)}"
        if nearest
        else f"no weights of {base} are published",
        slug="unknown-model",
    )


def _folded(name: str) -> str:
    """Without what is written differently from library to library: case, and marks between the parts."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def build_timm(name: str, *, pretrained: bool, num_classes: int | None = 0) -> Any:
    """Build a timm model that takes any size where its family can.

    Args:
        name: A timm name, or a DINOv2 name.
        pretrained: Fetch the published weights.
        num_classes: Of its classifier; 0 leaves it out, `None` keeps what the weights have.

    Raises:
        UsageError: No such model.
        WeightsError: The published weights could not be fetched; the message names what works without a network.
    """
    resolved = timm_name(name)
    classes: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    # timm's families say "takes any size" by different arguments and refuse those of the others.
    variants: tuple[dict[str, Any], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
    for options in variants:
        try:
            with hub_access() if pretrained else contextlib.nullcontext():
                network = timm.create_model(resolved, pretrained=pretrained, **classes, **options)
        except TypeError:
            continue
        except (OSError, RuntimeError) as error:
            if not pretrained:
                raise
            config = timm.get_pretrained_cfg(resolved)
            raise weights_unreachable(name, config.hf_hub_id if config else None, error) from error
        if "dinov2" in resolved and isinstance(network, VisionTransformer):
            use_interpolation(network, DINOV2_REGISTERS if "reg4" in resolved else DINOV2_PLAIN)
        return network
    raise UsageError(f"timm cannot build {resolved} without classes", hint="choose another backbone")


def _feature_info(network: Any, max_stride: int) -> tuple[int, int, int]:
    """Index, channels and stride of the deepest feature map with at most this stride."""
    candidates = [
        (int(entry["reduction"]), index, int(entry["num_chs"])) for index, entry in enumerate(network.feature_info)
    ]
    fitting = [candidate for candidate in candidates if candidate[0] <= max_stride] or candidates[:1]
    stride, index, channels = max(fitting)
    return index, channels, stride


def load_backbone(
    name: str,
    *,
    weights: Path | None = None,
    pretrained: bool = False,
    max_stride: int = 16,
) -> TimmBackbone:
    """Build a backbone and its contract.

    Args:
        name: A timm model name, or a DINOv2 name such as `dinov2_vits14`.
        weights: A local file to load; DINOv2's own key names are understood.
        pretrained: Fetch the published weights through timm; needs a network or a filled cache.
        max_stride: The deepest feature map with at most this stride is given.

    Returns:
        The backbone in training mode, with its `contract`.

    Raises:
        UsageError: No such model.
        WeightsError: Weights that cannot be had, read or fitted.

    Example:
        >>> load_backbone("resnet18", max_stride=8).contract.out_channels
        128
    """
    network = build_timm(name, pretrained=pretrained and weights is None)
    source = "random"
    if weights is not None:
        load_into(network, renamed_for(read_state_dict(weights), network), source=str(weights))
        source = str(weights)
    elif pretrained:
        source = str(network.pretrained_cfg.get("hf_hub_id") or "timm")
    index, channels, stride = _feature_info(network, max_stride)
    # Layers behind the feature map would cost memory and leave parameters without gradients, which DDP refuses.
    network.prune_intermediate_layers([index], prune_norm=True, prune_head=True)
    configuration: dict[str, Any] = network.pretrained_cfg
    contract = Contract(
        part=f"backbone {name}",
        out_channels=channels,
        mean=tuple(configuration["mean"]),
        std=tuple(configuration["std"]),
        side_multiple=stride,
        stride=stride,
        licence=configuration.get("license"),
        weights=source,
    )
    return TimmBackbone(network, index=index, contract=contract)


def fit_of_weights(name: str, weights: Path) -> LoadReport:
    """How far a weights file fits a backbone, without loading it.

    Args:
        name: As for `load_backbone`.
        weights: The file.

    Raises:
        UsageError: No such model.
        WeightsError: The file cannot be read.
    """
    network = build_timm(name, pretrained=False)
    return compare_state(network, renamed_for(read_state_dict(weights), network))


def renamed_for(state: Mapping[str, Tensor], network: Any) -> dict[str, Tensor]:
    """A published state dict under timm's names: its families know the names of the official releases.

    Args:
        state: Names to tensors.
        network: A timm model.
    """
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return dict(state)
    try:
        renamed: dict[str, Tensor] = convert(dict(state), network)
    except (KeyError, RuntimeError, ValueError, AttributeError, IndexError, TypeError):
        # Not a checkpoint of this family at all: the comparison of names says so better than the filter does.
        return dict(state)
    return renamed


@functools.cache
def describe_backbone(name: str, *, max_stride: int = 16) -> Contract:
    """The contract of a backbone without allocating its weights (built on the meta device).

    Example:
        >>> describe_backbone("dinov2_vits14").side_multiple
        14
    """
    import torch  # noqa: PLC0415

    with torch.device("meta"):
        return load_backbone(name, max_stride=max_stride).contract
