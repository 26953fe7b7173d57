"""Backbones that turn pictures into vectors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torchvision import models
from tqdm import tqdm

from snellen.errors import ContractError, UsageError, WeightsError
from snellen.models.backbones.embedders import load_embedder, official_state
from snellen.models.backbones.preprocessing import CLIP
from snellen.models.weights.loading import compare_state

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


def official_resnet_of_clip(blocks: tuple[int, ...], width: int, side: int, output: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of openai/CLIP's convolutional image towers."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, norm: str, out: int, given: int, kernel: int) -> None:
        shapes[f"visual.{name}.weight"] = (out, given, kernel, kernel)
        shapes.update({f"visual.{norm}.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"visual.{norm}.num_batches_tracked"] = ()

    half = width // 2
    for number, (given, out) in enumerate([(3, half), (half, half), (half, width)], 1):
        convolution(f"conv{number}", f"bn{number}", out, given, 3)
    given = width
    for stage, count in enumerate(blocks):
        planes = width * 2**stage
        for block in range(count):
            here = f"layer{stage + 1}.{block}"
            convolution(f"{here}.conv1", f"{here}.bn1", planes, given, 1)
            convolution(f"{here}.conv2", f"{here}.bn2", planes, planes, 3)
            convolution(f"{here}.conv3", f"{here}.bn3", planes * 4, planes, 1)
            if block == 0:
                convolution(f"{here}.downsample.0", f"{here}.downsample.1", planes * 4, given, 1)
            given = planes * 4
    shapes["visual.attnpool.positional_embedding"] = ((side // 32) ** 2 + 1, given)
    for part, out in {"k": given, "q": given, "v": given, "c": output}.items():
        shapes[f"visual.attnpool.{part}_proj.weight"], shapes[f"visual.attnpool.{part}_proj.bias"] = (
            (out, given),
            (out,),
        )
    return shapes


@pytest.mark.parametrize(
    ("name", "blocks", "width", "side", "output"),
    [
        ("clip_rn50", (3, 4, 6, 3), 64, 224, 1024),
        ("clip_rn101", (3, 4, 23, 3), 64, 224, 512),
        ("clip_rn50x4", (4, 6, 10, 6), 80, 288, 640),
        ("clip_rn50x16", (6, 8, 18, 8), 96, 384, 768),
        ("clip_rn50x64", (3, 15, 36, 10), 128, 448, 1024),
    ],
)
def test_clips_resnets_take_official_names_and_give_projected_vectors(
    name: str, blocks: tuple[int, ...], width: int, side: int, output: int
) -> None:
    shapes = {**official_resnet_of_clip(blocks, width, side, output), "logit_scale": ()}
    with torch.device("meta"):
        embedder = load_embedder(name, pretrained=False)
        state = {key: torch.empty(shape) for key, shape in shapes.items()}

    report = compare_state(embedder.network, official_state(name, state, embedder.network))

    assert (report.missing, report.mismatched) == ((), ())
    assert embedder.width == output
    assert (embedder.preprocessing.resize, embedder.preprocessing.crop) == (side, (side, side))
    assert embedder.preprocessing.mean == CLIP.mean


@pytest.mark.parametrize(
    ("given", "meant"), [("ViT-B/32", "clip_vitb32"), ("RN50x4", "clip_rn50x4"), ("ViT-L/14@336px", "clip_vitl14_336")]
)
def test_names_of_openai_are_told_how_they_are_called_here(given: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_embedder(given, pretrained=False)
    assert str(caught.value.hint).startswith(f"did you mean {meant}")


@pytest.mark.parametrize("pretrained", [True, False])
def test_weights_that_timm_does_not_know_are_a_wrong_name_and_no_missing_network(*, pretrained: bool) -> None:
    with pytest.raises(UsageError, match="no weights 'a1_in2k' of resnet50") as caught:
        load_embedder("resnet50.a1_in2k", pretrained=pretrained)
    assert "a1_in1k" in str(caught.value.hint)


def test_transformers_of_torchvision_take_the_size_of_their_weights() -> None:
    with torch.device("meta"):
        embedder = load_embedder("torchvision:vit_b_16.IMAGENET1K_SWAG_E2E_V1", pretrained=False)
    assert (embedder.width, embedder.preprocessing.crop) == (768, (384, 384))


def test_googlenet_from_a_file_is_given_what_it_is_given_when_it_is_fetched(tmp_path: Path) -> None:
    network: Any = models.googlenet(weights=None, init_weights=False, transform_input=True).eval()
    save_file(network.state_dict(), tmp_path / "googlenet.safetensors")
    embedder = load_embedder("torchvision:googlenet", weights=tmp_path / "googlenet.safetensors")
    image = embedder.preprocessing.prepare(PICTURE)[None]
    network.fc = torch.nn.Identity()

    torch.testing.assert_close(embedder.embed(image), network(image))


@pytest.fixture
def _without_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's bars leave a thread behind."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)


def small_vit(folder: Path, processor: Any) -> str:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    transformers.ViTModel(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"transformers:{folder}"


@pytest.mark.usefixtures("_without_bars")
def test_a_folder_of_transformers_is_prepared_as_its_own_processor_does(tmp_path: Path) -> None:
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    embedder = load_embedder(small_vit(tmp_path, processor))
    assert embedder.width == 16

    expected = processor(images=PICTURE, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(embedder.preprocessing.prepare(PICTURE), expected, atol=3 / 255 / 0.5, rtol=0)


@pytest.mark.usefixtures("_without_bars")
@pytest.mark.parametrize(
    "processor",
    [
        lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.5),
        lambda: transformers.MobileViTImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, do_flip_channel_order=True
        ),
    ],
)
def test_a_processor_that_does_more_than_its_sizes_say_is_refused(tmp_path: Path, processor: Callable[[], Any]) -> None:
    with pytest.raises(ContractError, match="prepares pictures in a way that is not known here"):
        load_embedder(small_vit(tmp_path, processor()))


def test_a_repository_that_cannot_be_reached_is_answered_with_ways_that_transformers_takes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_embedder(f"transformers:{tmp_path / 'nothing'}", pretrained=False)
    assert "transformers:FOLDER" in str(caught.value.hint)
    assert "pretrained=false" not in str(caught.value.hint)
