"""Pictures and arrays on their way into a network: the same as the libraries' own transforms, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision.models import ResNet18_Weights

from snellen.errors import ContractError
from snellen.models.backbones.preprocessing import CLIP, SAM, from_timm, from_torchvision

RANDOM = np.random.default_rng(0)


def picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "vit_small_patch16_224", "efficientnet_b0"])
@pytest.mark.parametrize("size", [(300, 200), (97, 500), (224, 224), (40, 30)])
def test_timm_models_get_what_timms_own_transform_gives(name: str, size: tuple[int, int]) -> None:
    network = timm.create_model(name, pretrained=False)
    config = timm.data.resolve_model_data_config(network)
    image = picture(*size)

    given = from_timm(network.pretrained_cfg).prepare(image)
    expected = timm.data.create_transform(**config, is_training=False)(image)

    torch.testing.assert_close(given, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [(300, 201), (97, 500), (40, 31)])
def test_torchvision_models_get_what_their_weights_transform_gives(size: tuple[int, int]) -> None:
    weights, image = ResNet18_Weights.IMAGENET1K_V1, picture(*size)

    given = from_torchvision(weights).prepare(image)

    torch.testing.assert_close(given, weights.transforms()(image), atol=2e-6, rtol=0)


def test_an_array_of_opencv_and_one_of_pillow_give_the_same() -> None:
    pixels = np.asarray(picture(80, 60))

    from_pillow = CLIP.prepare(pixels, colour="RGB")
    from_opencv = CLIP.prepare(pixels[:, :, ::-1], colour="BGR")

    assert torch.equal(from_pillow, from_opencv)
    assert torch.equal(from_pillow, CLIP.prepare(Image.fromarray(pixels)))


@pytest.mark.parametrize(
    ("array", "colour", "slug", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), None, "colour-order", "cv2.imread"),
        (np.zeros((8, 8, 3), np.float64), "RGB", "float64-input", "* 255"),
        (np.full((8, 8, 3), -1.5, np.float32), "RGB", "wrong-normalisation", "normalised already"),
        (np.full((8, 8, 3), 4095, np.uint16), "RGB", "wrong-normalisation", "range must be known"),
        (np.zeros((3, 8, 8), np.uint8), "RGB", "layout-scrambled", "transpose(1, 2, 0)"),
        (np.zeros((8, 8, 4), np.uint8), "RGB", "channel-mismatch", "three channels"),
        (np.zeros((2, 8, 8, 3), np.uint8), "RGB", "channel-mismatch", "one picture at a time"),
        (np.zeros((8, 8), np.bool_), "RGB", None, "astype"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused_and_named(
    array: Any, colour: Any, slug: str | None, words: str
) -> None:
    with pytest.raises(ContractError) as caught:
        CLIP.prepare(array, colour=colour)
    assert caught.value.slug == slug
    assert words in str(caught.value)


def test_sam_fills_up_to_its_square_with_zeros() -> None:
    image = SAM.prepare(Image.new("RGB", (200, 100), (255, 255, 255)))

    assert image.shape == (3, 1024, 1024)
    assert (image[:, :512] > 2).all()
    assert (image[:, 512:] == 0).all()
