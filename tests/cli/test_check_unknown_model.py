"""A network that no library has is an error of the check, with the nearest names that there are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from snellen.cli.main import main

RUNS = {
    "classify": "task: classify\ndata: {train: data, val: data}\nmodel: {name: resnet19, pretrained: false}\n",
    "embed": "task: embed\nmodel:\n  backbone: resnet19\n",
    "forgery": "task: forgery\ndata: {train: data, val: data}\nmodel: {detector: net, backbone: resnet19}\n",
    "torchvision": "task: embed\nmodel: {backbone: 'torchvision:resnet19'}\n",
}


@pytest.mark.parametrize("which", RUNS)
def test_a_network_that_does_not_exist_is_an_error(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    run = tmp_path / "run.yaml"
    run.write_text(RUNS[which])
    monkeypatch.setattr(sys, "argv", ["snellen", "check", str(run), "--select", "unknown-model", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    (check,) = (one for one in json.loads(capsys.readouterr().out)["checks"] if one["slug"] == "unknown-model")
    (finding,) = check["findings"]
    assert "resnet19" in finding["message"]
    assert "resnet18" in finding["fix"]["text"]
