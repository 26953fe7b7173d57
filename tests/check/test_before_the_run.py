"""Facets whose evidence lies beside a checkpoint, in the environment, or in a step on tensors without numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from plans import Known, findings
from snellen.check.plan import RunPlan
from snellen.check.run import GENERAL_FACTS
from snellen.core.facts.model import UnusedFacts
from snellen.core.finding import Finding, Level
from snellen.core.plan import NotApplicable
from snellen.core.rule import BeforeFacet
from snellen.estimate.step import Workload
from snellen.estimate.unused import unused_parameters
from snellen.rules.catalogue import catalogue

IMAGENET = {"part": "classifier net", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "colour": "RGB"}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def found(slug: str, root: Path, settings: dict[str, Any], **facts: object) -> list[Finding]:
    provided = {name: lambda _plan, value=value: value for name, value in facts.items()}
    plan = RunPlan(root=root, path=root / "run.yaml", settings=settings, providers={**GENERAL_FACTS, **provided})
    facet = catalogue()[slug].before
    assert isinstance(facet, BeforeFacet)
    return list(facet.examine(plan))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Any:
    """Writes a checkpoint with a file beside it; gives what is found by a slug."""

    def write(slug: str, name: str, content: object, **contract: object) -> list[Finding]:
        folder = tmp_path / "net"
        folder.mkdir(exist_ok=True)
        save_file({"conv.weight": torch.zeros(4, 3, 3, 3)}, folder / "model.safetensors")
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        settings = {"task": "classify", "model": {"weights": "net/model.safetensors"}}
        return found(slug, tmp_path, settings, contracts=({**IMAGENET, **contract},))

    return write


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("preprocessor_config.json", {**HALF, "do_normalize": True}, ""),
        ("preprocessor_config.json", {"do_rescale": True, "do_normalize": False}, ""),
        ("config.json", {"architecture": "vit_b", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "tag": "x"}},
         "vit_b.x"),
        ("open_clip_config.json", {"preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}}, ""),
    ],
)  # fmt: skip
def test_constants_stated_beside_a_checkpoint_that_the_run_does_not_take(
    checkpoint: Any, name: str, content: object, named: str
) -> None:
    (finding,) = checkpoint("wrong-normalisation", name, content)
    assert finding.level is Level.WARNING
    assert name in finding.message
    assert finding.location.key == "model.weights"
    assert named in finding.fix.text


@pytest.mark.parametrize(
    "content",
    [
        {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
        {"image_mean": [0.4850000, 0.456, 0.40600001], "image_std": [0.229, 0.224, 0.225], "do_normalize": True},
    ],
)
def test_the_same_constants_are_no_finding(checkpoint: Any, content: object) -> None:
    assert checkpoint("wrong-normalisation", "preprocessor_config.json", content) == []


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "null",
        {"image_mean": [123.7, 116.3, 103.5], "image_std": [1, 1, 1]},
        {"image_mean": "0.5"},
        "[" * 9999,
    ],
    ids=["broken", "list", "null", "of-bytes", "text", "deep"],
)
def test_what_states_nothing_is_not_judged(checkpoint: Any, content: object) -> None:
    for slug in ("wrong-normalisation", "colour-order"):
        with pytest.raises(NotApplicable):
            checkpoint(slug, "preprocessor_config.json", content)


def test_of_several_checkpoints_in_a_folder_it_is_not_said_whose_constants_they_are(
    checkpoint: Any, tmp_path: Path
) -> None:
    (tmp_path / "net").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "net" / "other.safetensors")
    with pytest.raises(NotApplicable):
        checkpoint("wrong-normalisation", "preprocessor_config.json", HALF)


def test_a_checkpoint_that_wants_blue_first(checkpoint: Any) -> None:
    flipped = {"do_flip_channel_order": True, "do_rescale": True}
    (finding,) = checkpoint("colour-order", "preprocessor_config.json", flipped)
    assert finding.level is Level.ERROR
    assert "BGR" in finding.message
    assert checkpoint("colour-order", "preprocessor_config.json", flipped, colour="BGR") == []
    assert checkpoint("colour-order", "preprocessor_config.json", {**flipped, "do_flip_channel_order": False}) == []


def test_curves_that_are_wanted_and_cannot_be_uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted = {"track": {"project": "mine"}}
    (finding,) = found("tracker-network", tmp_path, wanted)
    assert finding.level is Level.WARNING
    assert finding.location.key == "track.project"
    assert "no key" in finding.message or "not installed" in finding.message
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    (finding,) = found("tracker-network", tmp_path, {})
    assert "does not answer" in finding.message or "not installed" in finding.message
    for settings in ({"track": {"wandb": False}}, {**wanted, "machine": "kaggle-t4"}):
        with pytest.raises(NotApplicable):
            found("tracker-network", tmp_path, settings)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(NotApplicable):
        found("tracker-network", tmp_path, wanted)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(NotApplicable):
        found("tracker-network", tmp_path, {})


class Branches(nn.Module):
    """A head that the loss leaves out, a part that is frozen, and weights that are tied."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.spare = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.fixed = nn.Linear(4, 4).requires_grad_(False)
        self.head.weight = self.body.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.fixed(self.body(x)).relu())


def test_parameters_that_the_loss_does_not_reach_stop_a_run_on_two_devices() -> None:
    names = unused_parameters(Workload(build=Branches, batch=lambda count: torch.rand(count, 4)))
    assert names == ("spare.weight", "spare.bias")
    (finding,) = findings("ddp-unused-parameters", Known({}, unused_parameters=UnusedFacts(2, names)))
    assert finding.level is Level.ERROR
    assert "spare.weight and 1 more" in finding.message
    assert findings("ddp-unused-parameters", Known({}, unused_parameters=UnusedFacts(2, ()))) == []
