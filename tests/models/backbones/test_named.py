"""Models by name, from libraries and from one's own code."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from snellen.errors import UsageError
from snellen.models.backbones.named import named_model


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("resnet18", "timm:resnet18"),
        ("dinov2_vits14", "timm:vit_small_patch14_dinov2"),
        ("timm:resnet18.a1_in1k", "timm:resnet18.a1_in1k"),
        ("torchvision:resnet18", "torchvision:resnet18"),
        ("torchvision:segmentation.fcn_resnet50", "torchvision:fcn_resnet50"),
        ("raft_small", "torchvision:raft_small"),
    ],
)
def test_a_name_finds_its_library(name: str, full: str) -> None:
    assert named_model(name).name == full


def test_a_detector_takes_a_list() -> None:
    assert named_model("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn").takes_list
    assert not named_model("torchvision:resnet18").takes_list


def test_a_callable_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build(width=4):\n    return nn.Linear(width, 2)\nX = 3\n"
    )
    built = named_model(f"{tmp_path / 'net.py'}:build", width=5).build()
    assert isinstance(built, nn.Linear)
    assert built.in_features == 5
    with pytest.raises(UsageError, match="has no callable 'biuld'") as caught:
        named_model(f"{tmp_path / 'net.py'}:biuld")
    assert "nearest: build" in str(caught.value)
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module"):
        named_model("collections:OrderedDict").build()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "no model is called 'resnet19'"),
        ("timm:resnet19", "timm has no model 'resnet19'"),
        ("torchvision:resnet19", "torchvision has no model"),
        ("no_such_package_here:build", "cannot be imported"),
        ("gone.py:Net", "does not exist"),
        ("collections:", "names no callable"),
    ],
)
def test_what_nobody_knows_is_said_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        named_model(name)
