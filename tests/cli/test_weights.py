"""`snellen weights`: a file's table, its exit code, and what to type next."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import timm
import torch
from typer.testing import CliRunner

from snellen.cli.main import app

RUN = CliRunner()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo never",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("weights")
    state = timm.create_model("resnet18", num_classes=3).state_dict()
    torch.save({"state_dict": state, "epoch": 1}, made / "good.pth")
    torch.save({"state_dict": state, "bad": Evil()}, made / "evil.pth")
    torch.save({"state_dict": {}, "epoch": 1}, made / "nothing.pth")
    (made / "page.pth").write_bytes(b"<!DOCTYPE html><html>")
    (made / "named-00000000.pth").write_bytes((made / "good.pth").read_bytes())
    return made


def ask(*arguments: object) -> tuple[int, str]:
    done = RUN.invoke(app, ["weights", *map(str, arguments)])
    return done.exit_code, done.output


def test_a_good_file(folder: Path) -> None:
    code, text = ask(folder / "good.pth")
    assert code == 0
    for words in ("torch zip", "resnet18 (timm)", "3 outputs", "found under", "next: snellen trace"):
        assert words in text


def test_json_holds_the_tensors_and_the_network(folder: Path) -> None:
    code, text = ask(folder / "good.pth", "--model", "resnet18", "--json")
    found = json.loads(text)
    assert code == 1
    assert found["network"]["name"] == "resnet18"
    assert found["fit"]["clashes"][0] == {"name": "fc.weight", "given": [3, 512], "wanted": [1000, 512]}
    assert found["state"][0] == {"name": "conv1.weight", "shape": [64, 3, 7, 7], "dtype": "float32"}


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("evil.pth", ("would run", "system", "snellen explain unsafe-load")),
        ("nothing.pth", ("it holds no tensor", "snellen explain state-dict-mismatch")),
        ("page.pth", ("a web page", "snellen explain corrupt-checkpoint")),
        ("named-00000000.pth", ("its name states the hash 00000000",)),
    ],
)
def test_what_is_wrong_is_said(folder: Path, file: str, words: tuple[str, ...]) -> None:
    code, text = ask(folder / file)
    assert code == 1
    for word in words:
        assert word in text


def test_a_file_that_is_not_there_names_its_neighbours(folder: Path) -> None:
    done = RUN.invoke(app, ["weights", str(folder / "god.pth")])
    assert done.exit_code != 0
    assert "good.pth" in str(getattr(done.exception, "hint", ""))
