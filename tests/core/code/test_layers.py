"""Widths, sizes and ranks that the text of a file settles, and where it settles nothing."""

from __future__ import annotations

import functools
import textwrap
from pathlib import Path

import pytest

import source_facts
from snellen.core.code.layers import width_breaks
from snellen.core.code.makers import Makers
from snellen.core.code.memory_formats import format_calls, ranks
from snellen.core.code.outputs import one_class_outputs
from snellen.core.code.sizes import fed_shapes, fixed_sizes, named_model

HEAD = """\
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import transforms
"""


facts = functools.partial(source_facts.facts, head=HEAD)


def breaks(folder: Path, source: str) -> list[tuple[str, int, int]]:
    return [(found.what, found.given, found.wanted) for found in width_breaks(facts(folder, source))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(16, 4, 1))", [("channels", 8, 16)]),
        ("net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(16))", [("features", 8, 16)]),
        ("net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(48, 2))", []),
        ("net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2))", []),
        ("net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2), nn.Conv2d(2, 2, 1))", []),
        ("net = nn.Sequential(*layers, nn.Conv2d(16, 4, 1))", []),
        ("net = nn.Sequential(nn.Linear(4, 8), nn.Linear(16, 4))\nouts = [layer(x) for layer in net]", []),
        ("net = nn.Sequential(nn.Linear(4, 8), nn.Linear(16, 4))\ny = net[1](x)", []),
        ("first = nn.Linear(4, 8)\nnet = nn.Sequential(first, nn.ReLU(), nn.Linear(16, 4))", [("features", 8, 16)]),
    ],
)
def test_widths_of_a_sequence(tmp_path, source, expected):
    assert breaks(tmp_path, source) == expected


def module(body: str, *layers: str) -> str:
    made = "\n".join(f"        {layer}" for layer in layers)
    used = textwrap.indent(textwrap.dedent(body), " " * 8)
    return f"class Net(nn.Module):\n    def __init__(self, wide=False):\n{made}\n    def forward(self, x):\n{used}\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return self.b(self.a(x))", [("features", 8, 16)]),
        ("x = F.relu(self.a(x))\nreturn self.b(x)", [("features", 8, 16)]),
        ("x = self.a(x)\nx = x + 1\nreturn self.b(x)", []),
        ("x = self.a(x)\nx += 1\nreturn self.b(x)", []),
        ("x = self.a(x)\nif self.training:\n    x = torch.cat([x, x], 1)\nreturn self.b(x)", []),
        ("x = self.a(x)\nfor x in x:\n    y = self.b(x)\nreturn y", []),
        ("x, y = self.a(x), x\nreturn self.b(x)", []),
        ("x = x.view(-1, 20)\nreturn self.b(x)", [("features", 20, 16)]),
        ("x = x.view(-1, 4, 20)\nreturn self.b(x)", []),
        ("y = self.a(x)\nreturn self.b(x)", []),
    ],
)
def test_widths_along_a_forward_pass(tmp_path, body, expected):
    layers = ("self.a = nn.Linear(4, 8)", "self.b = nn.Linear(16, 2)")
    assert breaks(tmp_path, module(body, *layers)) == expected


def test_a_layer_that_is_made_in_two_ways_says_nothing(tmp_path):
    layers = ("self.a = nn.Linear(4, 8)", "self.b = nn.Linear(16, 2) if wide else nn.Linear(8, 2)")
    either = ("self.a = nn.Linear(4, 8)", "self.b = nn.Linear(8, 2)", "self.b = nn.Linear(16, 2)")
    assert breaks(tmp_path, module("return self.b(self.a(x))", *either)) == []
    assert len(breaks(tmp_path, module("return self.b(self.a(x))", *layers))) <= 1


@pytest.mark.parametrize(
    ("call", "side", "multiple"),
    [
        ('timm.create_model("vit_base_patch16_224")', 224, 1),
        ('timm.create_model("vit_base_patch16_224", img_size=384)', 384, 1),
        ('timm.create_model("vit_base_patch16_224", dynamic_img_size=True)', None, 16),
        ('timm.create_model("vit_base_patch16_224", dynamic_img_size=flag)', None, 16),
        ('timm.create_model("vit_small_patch14_dinov2.lvd142m")', 518, 1),
        ('timm.create_model("resnet50")', None, 1),
        ('torch.hub.load("facebookresearch/dinov2", "dinov2_vits14_reg")', None, 14),
    ],
)
def test_sizes_that_named_models_take(tmp_path, call, side, multiple):
    file = facts(tmp_path, f"flag = ask()\nmodel = {call}")
    (model,) = [found for each in file.calls if (found := named_model(each)) is not None]
    assert (model.side, model.multiple) == (side, multiple)


def test_options_from_a_mapping_settle_nothing(tmp_path):
    file = facts(tmp_path, 'model = timm.create_model("vit_base_patch16_224", **options)')
    assert [named_model(call) for call in file.calls] == [None]


def test_sizes_of_chains_and_of_tensors(tmp_path):
    file = facts(
        tmp_path,
        """
        fixed = transforms.Compose([transforms.Resize(300), transforms.CenterCrop(256), transforms.ToTensor()])
        loose = transforms.Compose([transforms.CenterCrop(256), transforms.Resize(224)])
        model = timm.create_model("resnet50").eval().cuda()
        a = model(torch.randn((2, 3, 64, 96)).cuda())
        b = model(torch.randn(size, 3, 64, 96))
        """,
    )
    assert [(size.height, size.width) for size in fixed_sizes(file)] == [(256, 256)]
    assert [shape for _, _, shape in fed_shapes(file)] == [(2, 3, 64, 96)]


def test_ranks_that_a_memory_format_is_asked_for(tmp_path):
    file = facts(
        tmp_path,
        """
        class Net(nn.Module):
            def __init__(self):
                self.a, self.b = nn.Conv2d(1, 1, 1), 2
                self.c = nn.Conv3d(1, 1, 1)
        Net().to(memory_format=torch.channels_last)
        unknown.to(memory_format=torch.channels_last)
        torch.zeros(1, 2, 3).to(memory_format=torch.channels_last)
        """,
    )
    found = [sorted(ranks(file, asked.call)) for asked in format_calls(file)]
    assert found == [[4, 5], [], [3]]


def test_a_network_with_one_output_is_followed_to_its_use(tmp_path):
    file = facts(
        tmp_path,
        """
        model = timm.create_model("resnet18", num_classes=1)
        other = timm.create_model("resnet18", num_classes=classes)
        loss = F.cross_entropy(model(x), y)
        answer = other(x).argmax(1)
        over_the_batch = model(x).softmax(0)
        """,
    )
    assert [(output.use, output.call.name) for output in one_class_outputs(file)] == [
        ("loss", "torch.nn.functional.cross_entropy")
    ]


def test_makers_follow_a_name_only_where_one_call_can_have_made_it(tmp_path):
    file = facts(tmp_path, "x = make()\nuse(x)\nif flag:\n    x = again()\nuse(x)\nuse(last())")
    makers = Makers(file)
    made = [makers.of_argument(call.arguments[0], call) for call in file.calls if call.name == "use"]
    assert [call.name if call else None for call in made] == ["make", None, "last"]
