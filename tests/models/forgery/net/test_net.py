"""The forgery network: any size, both correlations, learning, and evidence that tells a copy from texture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snellen.errors import ContractError, DataError
from snellen.models.backbones.from_timm import load_backbone
from snellen.models.forgery.net.detector import NetDetector, NetDetectorSettings
from snellen.models.forgery.net.evidence import evidence_channels, matching_evidence
from snellen.models.forgery.net.network import CorrelationSettings, ForgeryNet
from snellen.ops.self_correlation import pooled_self_correlation


@pytest.fixture
def network() -> ForgeryNet:
    torch.manual_seed(0)
    return ForgeryNet(load_backbone("resnet10t", max_stride=4))


@pytest.mark.parametrize("kind", ["pooled", "dense"])
def test_logits_have_the_size_of_the_image_and_every_parameter_learns(kind: str) -> None:
    network = ForgeryNet(
        load_backbone("resnet10t", max_stride=4),
        correlation=CorrelationSettings(kind=kind),  # type: ignore[arg-type]
    )
    logits = network(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 1, 64, 96)
    logits.square().mean().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_a_vit_and_the_decoder_together_need_the_common_multiple() -> None:
    network = ForgeryNet(load_backbone("vit_tiny_patch16_224"), correlation=CorrelationSettings(exclusion_radius=1))
    with pytest.raises(ContractError, match="pad to 96 x 96"):
        network(torch.rand(1, 3, 80, 80))
    assert network(torch.rand(1, 3, 96, 96)).shape == (1, 1, 96, 96)


def test_evidence_is_high_inside_a_copy_and_low_outside() -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(1, 64, 40, 40, generator=generator)
    features[..., 22:34, 24:36] = features[..., 4:16, 2:14]
    matches = pooled_self_correlation(features, patch=1, stride=1, top_k=3, exclusion_radius=4)
    evidence = matching_evidence(matches)
    assert evidence.shape == (1, evidence_channels(3), 40, 40)
    inside, outside = evidence[0, :, 25:31, 27:33], evidence[0, :, 18:21, :]
    for name, index in {"score": 0, "agreement": 3, "reciprocity": 6, "distinctiveness": 9}.items():
        assert inside[index].mean() > outside[index].mean() + 0.3, name


@pytest.mark.parametrize("size", [(1, 1), (40, 300), (33, 47), (150, 140)])
@pytest.mark.parametrize("test_time", ["none", "flips"])
def test_a_detector_takes_any_size(network: ForgeryNet, size: tuple[int, int], test_time: str) -> None:
    settings = NetDetectorSettings(tile=128, test_time=test_time)  # type: ignore[arg-type]
    detection = NetDetector(network, settings).detect(np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8))
    assert detection.mask.shape == size
    assert detection.heatmap is not None
    assert detection.heatmap.shape == size
    assert 0 <= detection.score <= 1


def test_averaging_over_all_turns_does_not_depend_on_the_turn(network: ForgeryNet) -> None:
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    detector = NetDetector(network, NetDetectorSettings(test_time="dihedral"))
    straight, turned = detector.detect(image), detector.detect(np.ascontiguousarray(np.rot90(image)))
    assert straight.heatmap is not None
    assert turned.heatmap is not None
    np.testing.assert_allclose(np.rot90(straight.heatmap), turned.heatmap, atol=1e-4)


@pytest.mark.parametrize("image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32), "photo.png"])
def test_a_detector_refuses_what_is_no_rgb_image(network: ForgeryNet, image: object) -> None:
    with pytest.raises(DataError, match="expected an RGB image"):
        NetDetector(network).detect(image)  # type: ignore[arg-type]
