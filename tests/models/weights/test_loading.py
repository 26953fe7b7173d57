"""Weights from strangers: read safely, loaded whole or refused."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from snellen.errors import WeightsError
from snellen.models.weights.loading import load_into, read_state_dict


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_torch_files_are_read_with_and_without_a_wrapper(tmp_path: Path, wrapper: str | None) -> None:
    state = nn.Linear(3, 2).state_dict()
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "a.pth")
    read = read_state_dict(tmp_path / "a.pth")
    torch.testing.assert_close(read["weight"], state["weight"])


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "a.safetensors")
    assert read_state_dict(tmp_path / "a.safetensors")["weight"].sum() == 2


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, writer: str) -> None:
    witness = tmp_path / "witness"
    path = tmp_path / "evil.pth"
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"weight": Evil(witness)}))
    else:
        torch.save({"weight": Evil(witness)}, path)
    with pytest.raises(WeightsError, match="pickle that holds more than tensors"):
        read_state_dict(path)
    assert not witness.exists()


def test_truncated_empty_and_foreign_files_are_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.pth"
    torch.save(nn.Linear(30, 20).state_dict(), whole)
    (tmp_path / "torn.pth").write_bytes(whole.read_bytes()[:500])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    for name in ("torn.pth", "empty.pth", "pointer.safetensors"):
        with pytest.raises(WeightsError, match="not a readable") as caught:
            read_state_dict(tmp_path / name)
        assert caught.value.slug == "corrupt-checkpoint"


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "dinov2.pth").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"dinov2\.pth") as caught:
        read_state_dict(tmp_path / "dino.pth")
    assert caught.value.slug == "missing-checkpoint"


def test_a_partial_load_is_refused_and_changes_nothing() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = module[0].weight.clone()
    state = {"0.weight": torch.zeros(2, 2), "0.bias": torch.zeros(2)}
    with pytest.raises(WeightsError, match="2 of 4 tensors fit; 2 missing") as caught:
        load_into(module, state, source="half.pth")
    assert caught.value.slug == "silent-random-weights"
    torch.testing.assert_close(module[0].weight, before)
    report = load_into(module, state, source="half.pth", allow_partial=True)
    assert report.missing == ("1.weight", "1.bias")
    assert not report.complete


def test_another_architecture_is_refused_with_both_shapes() -> None:
    with pytest.raises(WeightsError, match=r"weight is \(2, 3\), expected \(2, 5\)") as caught:
        load_into(nn.Linear(5, 2), nn.Linear(3, 2).state_dict(), source="other.pth")
    assert caught.value.slug == "state-dict-mismatch"
