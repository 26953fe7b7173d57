"""What checkpoints and passes of images through networks tell before a run; faults are made for real."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from snellen.check.plan import RunPlan
from snellen.check.run import GENERAL_FACTS
from snellen.core.facts.data import FolderAudit, ImageRecord, Sample
from snellen.core.facts.machine import MachineFacts
from snellen.core.facts.weights import FitFacts, SizeClash
from snellen.core.finding import Finding, Level
from snellen.core.plan import NotApplicable
from snellen.core.rule import BeforeFacet
from snellen.rules.catalogue import catalogue

ABOUT_WEIGHTS = (
    *("corrupt-checkpoint", "weights-only-load", "unsafe-load", "state-dict-mismatch", "silent-random-weights"),
    "sam-variant-mismatch",
)
ABOUT_PASSES = (
    *("patch-multiple", "channel-mismatch", "spatial-mismatch", "linear-shape", "batchnorm-single-value"),
    *("device-mismatch", "dtype-mismatch", "view-stride", "forward-stops"),
)
NETWORKS = """
import torch
from torch import nn
class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.layer(x - torch.zeros(1, 3, 1, 1))
def flat():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Flatten(), nn.Linear(4 * 32 * 32, 5))
def grey():
    return nn.Sequential(nn.Conv2d(1, 4, 3))
class Viewed(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).view(x.shape[0], -1)
class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.layer(x.double())
class Skips(nn.Module):
    def forward(self, x):
        small = nn.functional.max_pool2d(x, 2)
        return x + nn.functional.interpolate(small, scale_factor=2)
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.head = Chosen()
    def forward(self, x):
        return self.head(self.stem(x))
class Chosen(nn.Module):
    def forward(self, x):
        return {4: x}[x.shape[1] + 1]
def pooled():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))
"""


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo never",)


def plan(root: Path, settings: Mapping[str, Any], **facts: Any) -> RunPlan:
    given = {name: (lambda _plan, value=value: value) for name, value in facts.items()}
    keys = {"path_keys": lambda _plan: ("model.weights",)}
    return RunPlan(root=root, settings=settings, providers={**GENERAL_FACTS, **keys, **given})


def found(slugs: tuple[str, ...], run: RunPlan) -> dict[str, list[Finding]]:
    answers = {}
    for slug in slugs:
        facet = catalogue()[slug].before
        assert isinstance(facet, BeforeFacet)
        try:
            answers[slug] = list(facet.examine(run))
        except NotApplicable:
            continue
    return {slug: findings for slug, findings in answers.items() if findings}


def saved(root: Path, name: str, **options: Any) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = timm.create_model(name, **options).state_dict()
    torch.save(state, root / "w.pth")
    return state


def model(**settings: Any) -> dict[str, Any]:
    return {"model": {"weights": "w.pth", **settings}}


def test_weights_that_fit_are_left_alone(tmp_path: Path) -> None:
    saved(tmp_path, "resnet18", num_classes=5)
    assert found(ABOUT_WEIGHTS, plan(tmp_path, model(backbone="resnet18", num_classes=5))) == {}


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    saved(tmp_path, "resnet34")
    answers = found(ABOUT_WEIGHTS, plan(tmp_path, model(backbone="resnet50")))
    assert set(answers) == {"state-dict-mismatch"}
    (finding,) = answers["state-dict-mismatch"]
    assert finding.level is Level.ERROR
    assert "it holds resnet34" in finding.message
    assert finding.fix is not None
    assert finding.fix.settings == (("model.backbone", "resnet34"),)


def test_another_head_is_a_warning_and_positions_are_interpolated(tmp_path: Path) -> None:
    saved(tmp_path, "vit_tiny_patch16_224")
    (head,) = found(ABOUT_WEIGHTS, plan(tmp_path, model(backbone="vit_tiny_patch16_224", num_classes=4))).values()
    assert (head[0].level, "1000 outputs" in head[0].message) == (Level.WARNING, True)
    assert found(ABOUT_WEIGHTS, plan(tmp_path, model(backbone="vit_tiny_patch16_384"))) == {}


def test_positions_that_nothing_interpolates_are_an_error(tmp_path: Path) -> None:
    clash = SizeClash("pos_embed", (1, 197, 192), (1, 577, 192))
    fit = FitFacts("net", "model.weights", "w.pth", 150, 151, clashes=(clash,))
    saved(tmp_path, "vit_tiny_patch16_224")
    (positions,) = found(("state-dict-mismatch",), plan(tmp_path, model(), weights_fit=(fit,))).values()
    assert "14 x 14, the network has 24 x 24" in positions[0].message


def test_official_names_are_those_of_the_network(tmp_path: Path) -> None:
    state = saved(tmp_path, "vit_small_patch14_reg4_dinov2")
    official = {name.replace("reg_token", "register_tokens"): tensor for name, tensor in state.items()}
    official["pos_embed"] = torch.zeros(1, 1370, 384)
    torch.save({**official, "mask_token": torch.zeros(1, 384)}, tmp_path / "w.pth")
    assert found(ABOUT_WEIGHTS, plan(tmp_path, model(backbone="dinov2_vits14_reg"))) == {}
    answers = found(ABOUT_WEIGHTS, plan(tmp_path, model(backbone="dinov2_vitb14")))
    assert "it holds dinov2_vits14_reg" in answers["state-dict-mismatch"][0].message


def test_a_part_that_would_stay_random(tmp_path: Path) -> None:
    state = saved(tmp_path, "resnet18")
    torch.save({name: tensor for name, tensor in state.items() if "layer4" not in name}, tmp_path / "w.pth")
    answers = found(ABOUT_WEIGHTS, plan(tmp_path, model(backbone="resnet18")))
    assert set(answers) == {"silent-random-weights"}


def test_pickles_that_run_or_want_more_than_tensors(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.zeros(2)}, "evil": Evil()}, tmp_path / "w.pth")
    assert set(found(ABOUT_WEIGHTS, plan(tmp_path, model()))) == {"unsafe-load"}
    torch.save(timm.create_model("resnet18"), tmp_path / "w.pth")
    assert set(found(ABOUT_WEIGHTS, plan(tmp_path, model()))) == {"weights-only-load"}


@pytest.mark.parametrize(
    ("words", "data"),
    [("Git LFS", b"version https://git-lfs.github.com/spec/v1\n"), ("a web page", b"<html></html>"), ("empty", b"")],
)
def test_files_that_are_none(tmp_path: Path, words: str, data: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(data)
    answers = found(ABOUT_WEIGHTS, plan(tmp_path, model()))
    assert set(answers) == {"corrupt-checkpoint"}
    assert words in answers["corrupt-checkpoint"][0].message


def test_nan_and_a_wrong_hash(tmp_path: Path) -> None:
    torch.save({"a": torch.full((4, 4), float("nan")), "b": torch.ones(3, 3)}, tmp_path / "w-00000000.pth")
    messages = [
        f.message for f in found(ABOUT_WEIGHTS, plan(tmp_path, model(weights="w-00000000.pth")))["corrupt-checkpoint"]
    ]
    assert any("states the SHA-256 00000000" in message for message in messages)
    assert any("no finite numbers" in message for message in messages)


def test_sam_under_another_name_is_told_by_its_tensors(tmp_path: Path) -> None:
    state = {f"image_encoder.blocks.{index}.attn.rel_pos_h": torch.zeros(1) for index in range(24)}
    state["image_encoder.patch_embed.proj.weight"] = torch.zeros(1024, 3, 16, 16)
    torch.save({**state, "mask_decoder.iou_token.weight": torch.zeros(1, 256)}, tmp_path / "w.pth")
    run = plan(tmp_path, {"model": {"variant": "vit_b", "weights": "w.pth"}})
    (finding,) = found(("sam-variant-mismatch",), run)["sam-variant-mismatch"]
    assert "vit_l" in finding.message


def audit(*sizes: tuple[int, int]) -> tuple[FolderAudit, ...]:
    images = {f"{i}.png": ImageRecord(f"{i}.png", 1, height=h, width=w) for i, (h, w) in enumerate(sizes)}
    return (FolderAudit("data.train", "data/train", "flat", samples=[Sample(path) for path in images], images=images),)


def test_a_side_that_is_no_multiple_of_the_patch(tmp_path: Path) -> None:
    settings = {"model": {"backbone": "dinov2_vits14"}, "data": {"image_size": [518, 520]}}
    answers = found(ABOUT_PASSES, plan(tmp_path, settings))
    assert set(answers) == {"patch-multiple"}
    fix = answers["patch-multiple"][0].fix
    assert fix is not None
    assert fix.settings == (("data.image_size", [518, 532]),)
    mended = {"model": {"backbone": "dinov2_vits14"}, "data": {"image_size": [518, 532]}}
    assert found(ABOUT_PASSES, plan(tmp_path, mended)) == {}


PLANTED = {
    "Mixed": "device-mismatch",
    "flat": "linear-shape",
    "grey": "channel-mismatch",
    "Viewed": "view-stride",
    "Half": "dtype-mismatch",
    "Odd": "forward-stops",
}


@pytest.mark.parametrize(("network", "slug"), PLANTED.items())
def test_networks_that_stop(tmp_path: Path, network: str, slug: str) -> None:
    (tmp_path / "nets.py").write_text(NETWORKS)
    settings = {"model": {"name": f"{tmp_path / 'nets.py'}:{network}"}, "data": {"image_size": 70}}
    run = plan(tmp_path, settings, machine=MachineFacts("t4", False, "cuda", 1, False))
    answers = found(ABOUT_PASSES, run)
    assert set(answers) == {slug}
    assert answers[slug][0].fix is not None


def test_what_no_rule_knows_is_told_with_pass_size_module_and_message(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETWORKS)
    settings = {
        "model": {"name": f"{tmp_path / 'nets.py'}:Odd"},
        "data": {"image_size": 70},
        "optim": {"batch_size": 3},
    }
    (finding,) = found(("forward-stops",), plan(tmp_path, settings))["forward-stops"]
    assert finding.level is Level.WARNING
    for said in ("in head (Chosen), given 3x4x68x68", "3 images of 70 x 70 (data.image_size)", "KeyError: 5"):
        assert said in finding.message


def test_a_step_that_stops_is_told_unless_a_network_does_already(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETWORKS)
    stopped = "the train step, with 2 samples on tensors without numbers, stopped: KeyError: 'masks'"
    sound = {"model": {"name": f"{tmp_path / 'nets.py'}:grey"}, "data": {"image_size": 70}}
    answers = found(("forward-stops",), plan(tmp_path, sound, networks=(), stopped_step=stopped))
    assert [finding.message for finding in answers["forward-stops"]] == [stopped]
    assert found(("forward-stops",), plan(tmp_path, sound, stopped_step=stopped)) == {}, "its channels stop it first"
    assert found(("forward-stops",), plan(tmp_path, sound, networks=(), stopped_step="")) == {}


def test_images_of_the_data_decide_where_no_size_is_set(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(NETWORKS)
    settings = {"model": {"name": f"{tmp_path / 'nets.py'}:Skips"}, "data": {}}
    (finding,) = found(ABOUT_PASSES, plan(tmp_path, settings, audit=audit((64, 64), (65, 301))))["patch-multiple"]
    assert "65 x 301" in finding.message
    assert finding.fix is not None
    assert finding.fix.settings == (("data.pad_multiple", 2),)
    assert found(ABOUT_PASSES, plan(tmp_path, settings, audit=audit((64, 64), (66, 302)))) == {}


@pytest.mark.parametrize(("images", "batch", "expected"), [(9, 4, True), (8, 4, False), (10, 4, False), (3, 1, True)])
def test_one_image_in_the_last_batch(tmp_path: Path, images: int, batch: int, expected: bool) -> None:
    (tmp_path / "nets.py").write_text(NETWORKS)
    settings = {"model": {"name": f"{tmp_path / 'nets.py'}:pooled"}, "data": {}, "optim": {"batch_size": batch}}
    answers = found(ABOUT_PASSES, plan(tmp_path, settings, audit=audit(*[(32, 32)] * images)))
    assert set(answers) == ({"batchnorm-single-value"} if expected else set())


def test_images_of_several_sizes_cannot_be_stacked(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data": {"image_size": None}, "optim": {"batch_size": 4}}
    several = audit((10, 10), (10, 12))
    assert set(found(("collate-size-mismatch",), plan(tmp_path, settings, audit=several))) == {"collate-size-mismatch"}
    assert found(("collate-size-mismatch",), plan(tmp_path, settings, audit=audit((9, 9), (9, 9)))) == {}
    single = {**settings, "optim": {"batch_size": 1}}
    assert found(("collate-size-mismatch",), plan(tmp_path, single, audit=several)) == {}


def test_terms_of_weights_are_noted(tmp_path: Path) -> None:
    saved(tmp_path, "convnextv2_atto")
    (finding,) = found(("noncommercial-weights",), plan(tmp_path, model()))["noncommercial-weights"]
    assert (finding.level, "cc-by-nc-4.0" in finding.message) == (Level.NOTE, True)
    saved(tmp_path, "vit_small_patch14_dinov2")
    assert found(("noncommercial-weights",), plan(tmp_path, model())) == {}
