"""Facts of the forgery task, as checks ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from snellen.check.plan import RunPlan
from snellen.config.machines import MACHINES
from snellen.config.resolve import resolve
from snellen.core.plan import FactUnavailable, NotApplicable
from snellen.models.backbones.from_timm import load_backbone
from snellen.tasks.forgery.config import ForgeryModel, ForgeryRun
from snellen.tasks.forgery.facts import FACTS, RESOLVERS


def plan(root: Path, **settings: Any) -> RunPlan:
    return RunPlan(root=root, settings=settings, providers=dict(FACTS))


def test_dinov2_and_the_decoder_state_their_multiples(tmp_path: Path) -> None:
    contracts = plan(tmp_path, model={"detector": "net"}).fact("contracts")
    assert [contract["side_multiple"] for contract in contracts] == [14, 32]


def test_auto_padding_is_the_common_multiple_and_says_why() -> None:
    config = ForgeryRun(model=ForgeryModel(detector="net"))
    resolved = resolve(config, MACHINES["l4"], root="/", resolvers=RESOLVERS)
    assert resolved.config.data.pad_multiple == 224
    why = next(one.why for one in resolved.table if one.key == "data.pad_multiple")
    assert "14 (backbone dinov2_vits14) and 32 (decoder)" in why


def test_the_keypoint_detector_has_no_contracts(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="no network"):
        plan(tmp_path, model={"detector": "keypoint"}).fact("contracts")


def test_a_broken_model_section_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(FactUnavailable, match="problems of its own"):
        plan(tmp_path, model={"detector": "nett"}).fact("contracts")


def test_weights_of_another_architecture_fit_in_part(tmp_path: Path) -> None:
    state = load_backbone("test_resnet").network.state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "w.safetensors")
    model = {"detector": "net", "backbone": "resnet10t", "weights": "w.safetensors"}
    (fit,) = plan(tmp_path, model=model).fact("weights_fit")
    assert fit.loaded < fit.total
    assert fit.missing


def test_training_from_scratch_on_purpose_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="on purpose"):
        plan(tmp_path, model={"detector": "net", "pretrained": False}).fact("weights_fit")
