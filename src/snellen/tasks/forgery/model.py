"""From settings to a network or a detector."""

from __future__ import annotations

from pathlib import Path

import torch

from snellen.engine.checkpoint import load_weights
from snellen.errors import WeightsError
from snellen.models.backbones.from_timm import load_backbone
from snellen.models.forgery.detection import ForgeryDetector
from snellen.models.forgery.fusion import FusedDetector
from snellen.models.forgery.keypoint.detector import KeypointDetector
from snellen.models.forgery.net.detector import NetDetector, NetDetectorSettings
from snellen.models.forgery.net.network import CorrelationSettings, ForgeryNet
from snellen.report.progress import note
from snellen.tasks.forgery.config import ForgeryModel

__all__ = ["build_detector", "build_network", "detector_settings", "net_detector"]


def build_network(model: ForgeryModel) -> ForgeryNet:
    """The network with the backbone's weights, its other parts at their random start."""
    backbone = load_backbone(
        model.backbone, weights=model.weights, pretrained=model.pretrained, max_stride=model.max_stride
    )
    return ForgeryNet(backbone, correlation=CorrelationSettings(**model.correlation.model_dump()))


def net_detector(network: ForgeryNet, model: ForgeryModel, *, device: torch.device | str = "cpu") -> NetDetector:
    """The network, applied as the settings say."""
    return NetDetector(network, detector_settings(model), device=device)


def detector_settings(model: ForgeryModel) -> NetDetectorSettings:
    """How the network is applied, from the settings of a run."""
    return NetDetectorSettings(
        threshold=model.threshold, tile=model.tile, test_time=model.test_time, min_area=model.min_area
    )


def build_detector(model: ForgeryModel, *, checkpoints: Path | None) -> ForgeryDetector:
    """The detector that a run file asks for.

    Args:
        model: The settings.
        checkpoints: The folder `checkpoints/` of a trained run; `net` and `fused` need one.

    Raises:
        WeightsError: A network without trained weights: its answers would be noise.
    """
    keypoint = KeypointDetector()
    if model.detector == "keypoint":
        return keypoint
    if checkpoints is None:
        raise WeightsError(
            f"model.detector is {model.detector}, and there are no trained weights: its masks would be noise",
            hint="train first, then give the run's folder: snellen train RUN.yaml; "
            "or use the detector that needs none: model.detector=keypoint",
            slug="silent-random-weights",
        )
    # The checkpoint holds the backbone too; reading its own file first would be work for nothing.
    network = build_network(model.model_copy(update={"weights": None, "pretrained": False}))
    evaluated = (checkpoints / "best").is_dir()
    if not evaluated:
        note("this run was never evaluated, so its last checkpoint is used and not its best")
    for torn in load_weights(network, checkpoints, which="best" if evaluated else "last"):
        note(f"passed over {torn}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = net_detector(network, model, device=device)
    if model.detector == "net":
        return net
    return FusedDetector(keypoint, net, weight=model.net_weight, threshold=model.threshold)
