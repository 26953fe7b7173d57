"""Networks told by their tensors: as published, fine-tuned, wrapped, cut, and ones that nobody knows."""

from __future__ import annotations

import importlib

import pytest

from snellen.core.facts.weights import Architecture, TensorEntry
from snellen.models.backbones.fingerprints import known_marks, mark_of
from snellen.models.backbones.matching import shapes_of_model
from snellen.models.weights.recognise import recognise

NETWORKS = [
    *("timm:resnet50", "timm:seresnet50", "timm:efficientnet_b0", "timm:tf_efficientnetv2_s", "timm:convnextv2_nano"),
    *("timm:mobilenetv3_large_100", "timm:vit_base_patch16_224", "timm:vit_base_patch16_clip_224", "timm:regnety_008"),
    *("timm:deit3_small_patch16_224", "timm:swin_tiny_patch4_window7_224", "timm:vit_small_patch14_dinov2"),
    *("timm:vit_base_patch14_reg4_dinov2", "timm:maxvit_tiny_rw_224", "timm:vgg16_bn", "timm:mixer_b16_224"),
    *("torchvision:vit_b_16", "torchvision:swin_t", "torchvision:fasterrcnn_resnet50_fpn", "torchvision:r3d_18"),
    *("torchvision:deeplabv3_resnet50", "torchvision:regnet_y_800mf"),
]


def told(shapes: dict[str, tuple[int, ...]]) -> Architecture:
    return recognise([TensorEntry(name, shape) for name, shape in shapes.items()])


def names_of(found: Architecture) -> tuple[str, ...]:
    return (f"{found.library}:{found.name}", *found.also)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_libraries_are_recognised(name: str) -> None:
    found = told(shapes_of_model(name))
    assert name in names_of(found), found
    assert found.evidence


@pytest.mark.parametrize("name", ["timm:resnet34", "timm:vit_small_patch16_224", "torchvision:efficientnet_b1"])
def test_other_classes_channels_and_wrappers_do_not_hide_a_network(name: str) -> None:
    shapes = shapes_of_model(name)
    head = next(key for key in reversed(shapes) if key.endswith("weight"))
    shapes[head] = (7, *shapes[head][1:])
    found = told({f"module.model.{key}": shape for key, shape in shapes.items()})
    assert name in names_of(found)
    assert found.classes == 7
    first = next(key for key, shape in shapes.items() if len(shape) == 4)
    shapes[first] = (shapes[first][0], 1, *shapes[first][2:])
    assert name in names_of(told(shapes))


def test_a_backbone_within_a_larger_model_is_named() -> None:
    inside = {f"backbone.{key}": shape for key, shape in shapes_of_model("timm:resnet34").items() if "fc." not in key}
    found = told({**inside, "neck.weight": (3, 3), "neck.bias": (3,)})
    assert "timm:resnet34" in names_of(found)
    assert any("backbone." in sentence for sentence in found.evidence)


def test_networks_of_segmentation_models() -> None:
    library = importlib.import_module("segmentation_models_pytorch")
    for decoder in ("Unet", "FPN", "DeepLabV3Plus", "UnetPlusPlus"):
        built = getattr(library, decoder)("resnet34", encoder_weights=None, classes=4)
        found = told({name: tuple(tensor.shape) for name, tensor in built.state_dict().items()})
        assert found.name == f"{decoder}(resnet34)"
        assert found.classes == 4


def test_positions_say_the_size_of_images() -> None:
    found = told(shapes_of_model("timm:vit_base_patch16_384"))
    assert (found.name, found.grid, found.input_side) == ("vit_base_patch16_384", (24, 24), 384)


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"a": (3,)},
        {f"layer.{index}.weight": (17, 19) for index in range(40)},
        {"conv1.weight": (64, 3, 7, 7), "bn1.weight": (64,)},
    ],
)
def test_what_nobody_knows_is_not_guessed(shapes: dict[str, tuple[int, ...]]) -> None:
    found = told(shapes)
    assert found.name == ""
    assert found.licence == ""


def test_licences_come_from_who_states_them() -> None:
    found = told(shapes_of_model("timm:vit_small_patch14_dinov2"))
    assert found.licence == "apache-2.0"
    assert "timm" in found.licence_source
    several = told(shapes_of_model("timm:resnet18"))
    assert several.licence == ""
    assert "cc-by-nc" in several.licence_source


def test_the_marks_are_those_of_the_installed_libraries() -> None:
    by_name = {name: mark for mark in known_marks() for name in mark.names}
    assert len(by_name) > 1400
    for name in NETWORKS[::6]:
        own, mark = mark_of(shapes_of_model(name)), by_name[name]
        assert (own.count, own.exact, own.shapes, own.sketch) == (mark.count, mark.exact, mark.shapes, mark.sketch)
