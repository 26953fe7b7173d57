"""Against inputs and outputs of the official implementations; cases are found by their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import ResNet50_Weights

from snellen._env import shared_folder
from snellen.models.backbones import clip
from snellen.models.backbones.dinov2 import dinov2
from snellen.models.backbones.embedders import load_embedder, official_state
from snellen.models.backbones.positions import Interpolation
from snellen.models.backbones.preprocessing import CLIP, DINOV2, from_torchvision
from snellen.models.weights.loading import compare_state

VECTORS = shared_folder() / "vectors"
PREPROCESSINGS = {
    "clip": CLIP,
    "dinov2": DINOV2,
    "resnet50_v1": from_torchvision(ResNet50_Weights.IMAGENET1K_V1),
    "resnet50_v2": from_torchvision(ResNet50_Weights.IMAGENET1K_V2),
}

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"{VECTORS} is not there: set SNELLEN_SHARED")


def cases(pattern: str) -> list[str]:
    return sorted(path.stem for path in VECTORS.glob(pattern)) or ["none"]


def read(name: str) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]]:
    description = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    weights = {key: value.float() for key, value in load_file(VECTORS / f"{name}.weights.safetensors").items()}
    return description, weights, load_file(VECTORS / f"{name}.safetensors")


def assert_close(description: dict[str, Any], expected: dict[str, Tensor], name: str, given: Tensor) -> None:
    tolerance = description["tensors"][name]["tolerance"]
    torch.testing.assert_close(given.detach(), expected[name], atol=tolerance["atol"], rtol=tolerance["rtol"])


@pytest.mark.parametrize("name", [case for case in cases("dinov2_*.json") if "_keys_" not in case])
def test_dinov2_gives_what_the_official_network_gives(name: str) -> None:
    description, weights, tensors = read(name)
    made = description["constructor"]
    network = dinov2(
        image_size=made["img_size"],
        patch_size=made["patch_size"],
        width=made["embed_dim"],
        depth=made["depth"],
        heads=made["num_heads"],
        feed_forward="swiglu" if "swiglu" in made["ffn_layer"] else "mlp",
        registers=made["num_register_tokens"],
        interpolation=Interpolation(made["interpolate_offset"], made["interpolate_antialias"]),
    ).eval()
    assert network.load_official(weights, source=name).complete

    sizes = [key.removesuffix(".input") for key in tensors if key.endswith(".input")]
    for size in sizes:
        images = tensors[f"{size}.input"]
        tokens = network.tokens(images)
        assert_close(description, tensors, f"{size}.x_norm_clstoken", tokens.cls)
        assert_close(description, tensors, f"{size}.x_norm_patchtokens", tokens.patches)
        if made["num_register_tokens"]:
            assert_close(description, tensors, f"{size}.x_norm_regtokens", tokens.registers)
        for index, layer in enumerate(network.intermediate_layers(images, 2)):
            features = layer.patches.transpose(1, 2).unflatten(2, layer.grid)
            assert_close(description, tensors, f"{size}.intermediate_n2_reshape_norm.{index}", features)
        if f"{size}.intermediate_list_raw.0.cls" in tensors:
            raw = network.intermediate_layers(images, [0, made["depth"] - 1], normalised=False)
            for index, layer in enumerate(raw):
                assert_close(description, tensors, f"{size}.intermediate_list_raw.{index}.cls", layer.cls)
                assert_close(description, tensors, f"{size}.intermediate_list_raw.{index}.patch", layer.patches)

    masks = tensors["masked.mask"].bool()
    masked = next(
        tensors[f"{size}.input"]
        for size in sizes
        if (tensors[f"{size}.input"][0, 0].numel() // made["patch_size"] ** 2,) == tuple(masks.shape[1:])
    )
    assert_close(description, tensors, "masked.x_norm_patchtokens", network.tokens(masked, masks).patches)
    assert_close(description, tensors, "masked.head", network(masked))


@pytest.mark.parametrize("name", cases("clip_visual_*.json"))
def test_clip_gives_what_the_official_tower_gives(name: str) -> None:
    description, weights, tensors = read(name)
    made = description["constructor"]
    network = clip.clip_visual(
        image_size=made["input_resolution"],
        patch_size=made["patch_size"],
        width=made["width"],
        depth=made["layers"],
        heads=made["heads"],
        output=made["output_dim"],
    ).eval()
    network.load_state_dict(clip.renamed_from_official(weights, network))

    features = network(tensors["input"])

    assert_close(description, tensors, "features", features)
    normalised = torch.nn.functional.normalize(features, dim=1)
    assert_close(description, tensors, "features_normalised", normalised)


@pytest.mark.parametrize(
    ("keys", "backbone"),
    [
        ("dinov2_keys_vits14", "dinov2_vits14"),
        ("dinov2_keys_vitb14", "dinov2_vitb14"),
        ("dinov2_keys_vits14_reg", "dinov2_vits14_reg"),
        ("clip_keys_ViT-B-32", "clip_vitb32"),
        ("sam_keys_vit_b", "sam_vit_b"),
        ("sam_keys_vit_l", "sam_vit_l"),
    ],
)
def test_official_key_names_load(keys: str, backbone: str) -> None:
    shapes = json.loads((VECTORS / f"{keys}.json").read_text(encoding="utf-8"))["state_dict"]
    state = {one["key"]: torch.empty(one["shape"], device="meta") for one in shapes}
    with torch.device("meta"):
        embedder = load_embedder(backbone, pretrained=False)

    report = compare_state(embedder.network, official_state(backbone, state, embedder.network))

    assert (report.missing, report.mismatched) == ((), ())


def stored(name: str) -> list[tuple[str, str]]:
    file = VECTORS / f"{name}.npz"
    if not file.is_file():
        return []
    with np.load(file) as arrays:
        return [tuple(key.split(".", 1)) for key in arrays.files if not key.endswith((".pixels", ".palette"))]  # type: ignore[misc]


def picture(arrays: Any, name: str) -> Image.Image:
    pixels = arrays[f"{name}.pixels"]
    if f"{name}.palette" not in arrays.files:
        return Image.fromarray(pixels)
    image = Image.frombytes("P", (pixels.shape[1], pixels.shape[0]), pixels.tobytes())
    image.putpalette(arrays[f"{name}.palette"].tobytes())
    return image


@pytest.mark.parametrize(("image", "tensor"), stored("preprocess"))
def test_pictures_become_inputs_as_the_official_transforms_make_them(image: str, tensor: str) -> None:
    kind = tensor.removesuffix(".levels")
    preprocessing = PREPROCESSINGS.get(kind.removesuffix("_after_rgb"))
    if preprocessing is None:
        pytest.skip(f"{kind} is not the official default")
    with np.load(VECTORS / "preprocess.npz") as arrays:
        given, expected = picture(arrays, image), arrays[f"{image}.{tensor}"]
    if kind.endswith("_after_rgb"):
        given = given.convert("RGB")

    if tensor.endswith(".levels"):
        np.testing.assert_array_equal(preprocessing.levels(given).transpose(2, 0, 1), expected)
    else:
        np.testing.assert_allclose(preprocessing.prepare(given).numpy(), expected, atol=2e-6, rtol=0)


def test_the_folder_holds_all_kinds_of_case() -> None:
    assert all(Path(VECTORS, f"{name}.json").is_file() for name in ("dinov2_plain", "clip_visual_tiny", "preprocess"))
