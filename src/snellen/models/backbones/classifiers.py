"""Whole timm classifiers: built for a size of input, with a stem for small images, frozen in part, grouped by depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import timm
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]  # public, not re-exported by name
from torch import nn

from snellen.errors import UsageError, WeightsError
from snellen.models.backbones.fetching import hub_access, weights_unreachable
from snellen.models.backbones.from_timm import renamed_for, timm_name
from snellen.models.backbones.preprocessing import Preprocessing, from_timm
from snellen.models.weights.loading import LoadReport, compare_state, read_state_dict

__all__ = [
    "Architecture",
    "Frozen",
    "build_classifier",
    "classifier_fit",
    "depth_groups",
    "freeze",
    "is_transformer",
    "load_published",
    "preprocessing_of",
    "stated_config",
]

Frozen = Literal["all", "part", "none"]

_LAST_MAP = 4
"""A feature map of at least 4 x 4 is left at the end, as networks made for 32 pixels have it (He et al. 2016)."""
_STEMS = 8
"""A transformer gets 8 x 8 patches of a small image."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a classifier is built from; plain data, so that a checkpoint can hold it.

    Args:
        name: A timm name, or a DINOv2 name.
        classes: Number of outputs.
        side: Side of the square images that it takes, in pixels.
        small_stem: Whether the first layers shrink a small image less than they were made to.
        options: Further arguments of timm's factory, such as `channels` of a ResNet.
    """

    name: str
    classes: int
    side: int
    small_stem: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def stated_config(name: str) -> Mapping[str, Any]:
    """What timm states for a model: input size, mean, deviation, licence, names of first layer and classifier.

    Raises:
        UsageError: No such model.
    """
    config: Any = timm.get_pretrained_cfg(timm_name(name), allow_unregistered=True)
    return dict(config.to_dict()) if config is not None else {}


def is_transformer(name: str) -> bool:
    """Whether a model is a transformer of the kind that learns from much data only.

    Example:
        >>> is_transformer("vit_tiny_patch16_224"), is_transformer("resnet18")
        (True, False)
    """
    return str(stated_config(name).get("first_conv") or "").startswith("patch_embed")


def preprocessing_of(name: str, *, side: int, pretrained: bool) -> Preprocessing:
    """The official evaluation pixels of a model at a side of one's own; nothing is cut off for one trained here.

    Example:
        >>> preprocessing_of("resnet18", side=32, pretrained=False).resize
        32
    """
    config = {**stated_config(name), "input_size": (3, side, side)}
    stated = from_timm(config)
    return stated if pretrained else replace(stated, resize=side, source="the size of this run's images")


def build_classifier(architecture: Architecture) -> nn.Module:
    """A timm classifier with random weights.

    Raises:
        UsageError: No such model, or options that it does not take.

    Example:
        >>> network = build_classifier(Architecture("resnet18", classes=10, side=32, small_stem=True))
        >>> network.conv1.stride, type(network.maxpool).__name__
        ((1, 1), 'Identity')
    """
    name, options = timm_name(architecture.name), dict(architecture.options)
    transformer = is_transformer(name)
    if transformer:
        options.setdefault("img_size", architecture.side)
        if architecture.small_stem:
            options.setdefault("patch_size", max(2, architecture.side // _STEMS))
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=architecture.classes, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items()) or "no options"
        raise UsageError(
            f"timm cannot build {name} with {given}: {str(error).partition(chr(10))[0] or type(error).__name__}",
            hint="mend model.options or data.image_size",
            slug="unknown-model",
        ) from error
    if architecture.small_stem and not transformer:
        _shrink_less(network, architecture.side)
    return network


def _shrink_less(network: nn.Module, side: int) -> None:
    """Take strides out of the first layers until a map of 4 x 4 is left at the end."""
    last = getattr(network, "feature_info", None)
    reduction = int(last[-1]["reduction"]) if last else 32
    if side / reduction < _LAST_MAP and isinstance(getattr(network, "maxpool", None), nn.MaxPool2d):
        network.maxpool = nn.Identity()
        reduction //= 2
    stated: Any = getattr(network, "pretrained_cfg", {}).get("first_conv")
    for path in [stated] if isinstance(stated, str) else stated or []:
        parent, _, leaf = path.rpartition(".")
        holder = network.get_submodule(parent)
        conv = getattr(holder, leaf, None)
        if side / reduction < _LAST_MAP and isinstance(conv, nn.Conv2d) and max(conv.stride) > 1:
            made = nn.Conv2d(conv.in_channels, conv.out_channels, 3, 1, 1, bias=conv.bias is not None)
            nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
            setattr(holder, leaf, made)


def load_published(network: nn.Module, architecture: Architecture, weights: Path | None) -> str:
    """Fill everything but the classifier with pretrained weights.

    Args:
        network: From `build_classifier`.
        architecture: What it was built from.
        weights: A local file; what timm publishes without it.

    Returns:
        Where they came from.

    Raises:
        WeightsError: They cannot be fetched, read or fitted.
    """
    if weights is not None:
        state, source = read_state_dict(weights), str(weights)
    else:
        state, source = _fetched(architecture)
    report, state = _fit(network, state)
    if report.missing or report.mismatched:
        total = report.loaded + len(report.missing) + len(report.mismatched)
        first = report.missing[0] if report.missing else report.mismatched[0][0]
        raise WeightsError(
            f"{source} does not fit {architecture.name}: {report.loaded} of {total} tensors fit, {first} does not",
            hint="choose the network that these weights were made for: model.name, model.options, model.small_stem",
            slug="state-dict-mismatch",
        )
    network.load_state_dict(state, strict=False)
    return source


def classifier_fit(architecture: Architecture, weights: Path) -> LoadReport:
    """How far a weights file fits a classifier, its last layer apart, without loading it."""
    return _fit(build_classifier(architecture), read_state_dict(weights))[0]


def _fit(network: nn.Module, state: Mapping[str, Any]) -> tuple[LoadReport, dict[str, Any]]:
    """The report and the tensors to load; those of the classifier are neither missing nor loaded."""
    # A run of this project keeps its network under this name, beside what it knows of its classes.
    inside = {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
    renamed = renamed_for(inside or state, network)
    last = _classifier_names(network)
    without = {name: value for name, value in renamed.items() if name not in last}
    report = compare_state(network, without)
    kept = tuple(name for name in report.missing if name not in last)
    return replace(report, missing=kept), without


def _classifier_names(network: Any) -> set[str]:
    classifier = network.get_classifier()
    inside = {id(value) for value in classifier.parameters()} if isinstance(classifier, nn.Module) else set()
    return {name for name, value in network.named_parameters() if id(value) in inside}


def _fetched(architecture: Architecture) -> tuple[dict[str, Any], str]:
    name = timm_name(architecture.name)
    options = dict(architecture.options)
    if is_transformer(name):
        options.setdefault("img_size", architecture.side)
    config = timm.get_pretrained_cfg(name)
    hub = config.hf_hub_id if config is not None else None
    try:
        with hub_access():
            made = timm.create_model(name, pretrained=True, num_classes=architecture.classes, **options)
    except (OSError, RuntimeError) as error:
        raise weights_unreachable(architecture.name, hub, error) from error
    return dict(made.state_dict()), str(hub or "timm")


def freeze(network: Any, how: Frozen) -> tuple[int, int]:
    """Let gradients reach the classifier alone, or the last quarter of the layers as well, or everything.

    Args:
        network: A timm classifier.
        how: What stays as it is: `all` but the classifier, `part`, or `none`.

    Returns:
        How many weights learn, and how many there are.

    Example:
        >>> freeze(build_classifier(Architecture("resnet18", classes=2, side=64)), "all")
        (1026, 11177538)
    """
    last = _classifier_names(network)
    learn = set(last)
    if how == "part":
        groups = group_parameters(network, network.group_matcher(coarse=True))
        body = [names for _, names in sorted(groups.items()) if set(names) - last]
        # The last of these may hold a final norm alone, which learns with the quarter before it.
        for names in body[-max(2, -(-len(body) // 4)) :]:
            learn.update(names)
    total = trained = 0
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(how == "none" or name in learn)
        total += parameter.numel()
        trained += parameter.numel() if parameter.requires_grad else 0
    return trained, total


def depth_groups(network: nn.Module, *, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Groups whose learning rate falls by a factor from layer to layer, the classifier at the full one.

    Source: Clark et al., ELECTRA, 2020, section 3.1; for images Bao et al., BEiT, 2022.

    Args:
        network: A timm classifier.
        weight_decay: Of matrices and kernels; biases and norms have none.
        layer_decay: The factor, 1 for one learning rate.

    Example:
        >>> network = build_classifier(Architecture("resnet18", classes=2, side=64))
        >>> min(group["lr_scale"] for group in depth_groups(network, weight_decay=0.1, layer_decay=0.5)) < 0.1
        True
    """
    groups = param_groups_layer_decay(network, weight_decay=weight_decay, layer_decay=layer_decay)
    kept = [
        {"params": group["params"], "weight_decay": group["weight_decay"], "lr_scale": group.get("lr_scale", 1.0)}
        for group in groups
        if group["params"]
    ]
    # The learning rate that is logged is that of the first group: the classifier's.
    return sorted(kept, key=lambda group: -group["lr_scale"])
