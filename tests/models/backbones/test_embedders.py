"""Backbones that turn pictures into vectors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models

from snellen.errors import UsageError, WeightsError
from snellen.models.backbones.embedders import load_embedder

PICTURE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8))


def embed(name: str, **options: object) -> Tensor:
    embedder = load_embedder(name, pretrained=False, **options)  # type: ignore[arg-type]
    return embedder.embed(embedder.preprocessing.prepare(PICTURE)[None])


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("pixels", 768),
        ("colour-histogram", 216),
        ("hog-colour", 984),
        ("hog", 768),
        ("resnet18", 512),
        ("timm:convnext_atto", 320),
        ("torchvision:resnet18", 512),
        ("torchvision:mobilenet_v3_small", 1024),
        ("dinov2_vits14_reg", 384),
    ],
)
def test_every_kind_of_backbone_gives_one_vector(name: str, width: int) -> None:
    vectors = embed(name)
    assert vectors.shape == (1, width)
    assert vectors.dtype == torch.float32
    assert torch.isfinite(vectors).all()


def test_vectors_are_the_librarys_own_pooled_features(tmp_path: Path) -> None:
    network = models.resnet18(weights=None).eval()
    save_file(network.state_dict(), tmp_path / "resnet18.safetensors")
    embedder = load_embedder("torchvision:resnet18", weights=tmp_path / "resnet18.safetensors")
    image = embedder.preprocessing.prepare(PICTURE)[None]
    network.fc = torch.nn.Identity()  # type: ignore[assignment]

    torch.testing.assert_close(embedder.embed(image), network(image))


def test_dinov2_weights_under_timms_names_load_too(tmp_path: Path) -> None:
    network = timm.create_model("vit_small_patch14_dinov2", num_classes=0).eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")

    embedder = load_embedder("dinov2_vits14", weights=tmp_path / "weights.safetensors")

    assert embedder.contract.weights.endswith("weights.safetensors")


def test_the_fingerprint_tells_weights_and_preprocessing_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = load_embedder("resnet18", pretrained=False)
    torch.manual_seed(0)
    same = load_embedder("resnet18", pretrained=False)
    other = load_embedder("resnet18", pretrained=False)
    elsewhere = load_embedder("hog")

    assert first.fingerprint == same.fingerprint
    assert len({first.fingerprint, other.fingerprint, elsewhere.fingerprint}) == 3


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="0 of 120 tensors fit"):
        load_embedder("resnet18", weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["resnet188", "torchvision:resnet188", "torchvision:resnet18.NO_SUCH"])
def test_an_unknown_name_is_answered_with_near_ones(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_embedder(name, pretrained=False)
    assert "resnet18" in str(caught.value) or "IMAGENET1K_V1" in str(caught.value)


def test_without_a_network_the_ways_that_are_left_are_named_at_once(tmp_path: Path) -> None:
    program = (
        "from snellen.models.backbones.embedders import load_embedder\n"
        "try: load_embedder('resnet18')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    # An address on which nothing listens: the hub cannot be reached, whatever network there is.
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PATH": ""}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    assert ended.stdout.startswith("WeightsError the published weights of resnet18")
    assert all(way in ended.stdout for way in ("model.weights=FILE", "hf download timm/resnet18", "HF_ENDPOINT"))
    assert "Retrying" not in ended.stderr


def test_a_misspelt_short_name_is_told_its_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        load_embedder("hoog")
    assert "did you mean hog" in str(caught.value.hint)
