"""Rules whose evidence lies in several files of one project: settings here, code there."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.core.finding import Finding, Level
from snellen.lint.fixes import fix_files
from snellen.lint.runner import Report, chosen_rules, run

PYYAML = "import yaml\n\ndef load(path):\n    return yaml.safe_load(open(path))\n"
FILL = "def attend(scores, mask):\n    return scores.masked_fill(mask, -1e9)\n"
DATA = """import cv2
from torch.utils.data import Dataset

class Pictures(Dataset):
    def __getitem__(self, index):
        image = cv2.imread(self.paths[index])
        return self.transform(image)
"""
RESNET = "from torchvision import models\nnet = models.resnet50(weights='DEFAULT')\n"
NORMALIZE = "from torchvision.transforms import Normalize\nstep = Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])\n"


def look(folder: Path, slug: str, **files: str) -> list[Finding]:
    (folder / "pyproject.toml").touch()
    for name, text in files.items():
        (folder / name.replace("_yaml", ".yaml").replace("_py", ".py")).write_text(text)
    report = run([folder], chosen_rules([slug]))
    assert not report.errors
    return report.findings


def test_numbers_that_pyyaml_reads_as_text(tmp_path: Path) -> None:
    text = "optim:\n  lr: 1e-4\n  steps: 2E5\n  decay: 0.01\n  eps: 1.0e-8\n  name: '1e-4'\n"
    findings = look(tmp_path, "untyped-config-number", run_yaml=text, train_py=PYYAML)
    assert [finding.message.split()[0] for finding in findings] == ["optim.lr", "optim.steps"]

    def again() -> Report:
        return run([tmp_path], chosen_rules(["untyped-config-number"]))

    fix_files(again(), unsafe=False, write=True, again=again)
    assert (tmp_path / "run.yaml").read_text() == text.replace("1e-4\n", "1.0e-4\n", 1).replace("2E5", "2.0e+5")


@pytest.mark.parametrize(
    "code",
    [
        "from omegaconf import OmegaConf\nOmegaConf.load('run.yaml')\n",
        f"{PYYAML}from ruamel.yaml import YAML\n",
        f"{PYYAML}lr = float(load('run.yaml')['lr'])\n",
        "x = 1\n",
    ],
)
def test_numbers_that_somebody_makes_numbers(tmp_path: Path, code: str) -> None:
    assert look(tmp_path, "untyped-config-number", run_yaml="lr: 1e-4\n", train_py=code) == []


@pytest.mark.parametrize(
    ("train", "level"),
    [
        ("import torch\nwith torch.autocast('cuda'):\n    pass\n", Level.ERROR),
        ("from torch.cuda.amp import autocast\nwith autocast():\n    pass\n", Level.ERROR),
        ("net.half()\n", Level.ERROR),
        ("from lightning import Trainer\nTrainer(precision='16-mixed')\n", Level.ERROR),
        ("from transformers import TrainingArguments\nTrainingArguments('out', fp16=True)\n", Level.ERROR),
        ("import torch\nnet.to(torch.float16)\n", Level.ERROR),
        ("import torch\nwith torch.autocast('cuda', dtype=torch.bfloat16):\n    pass\n", Level.NOTE),
        ("from lightning import Trainer\nTrainer(precision='bf16-mixed')\n", Level.NOTE),
        ("import torch\nwith torch.autocast('cuda', torch.bfloat16):\n    pass\n", Level.NOTE),
        ("x = 1\n", Level.NOTE),
    ],
)
def test_a_fill_counts_where_float16_is_asked_for(tmp_path: Path, train: str, level: Level) -> None:
    (finding,) = look(tmp_path, "fill-out-of-range", model_py=FILL, train_py=train)
    assert finding.level is level
    assert bool(finding.evidence) is (level is Level.ERROR)


def test_settings_that_ask_for_float16(tmp_path: Path) -> None:
    (finding,) = look(tmp_path, "fill-out-of-range", model_py=FILL, run_yaml="trainer: {precision: 16}\n")
    assert finding.level is Level.ERROR


def test_a_data_set_and_the_network_it_feeds(tmp_path: Path) -> None:
    (finding,) = look(tmp_path, "colour-order", data_py=DATA, train_py=RESNET)
    assert finding.location is not None
    assert (finding.location.path, finding.location.line) == (str(tmp_path / "data.py"), 7)
    assert "resnet50" in finding.message


def test_a_data_set_of_a_project_that_converts(tmp_path: Path) -> None:
    convert = "import cv2\ndef prepare(image):\n    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)\n"
    assert look(tmp_path, "colour-order", data_py=DATA, train_py=RESNET + convert) == []


def test_constants_here_and_the_network_there(tmp_path: Path) -> None:
    (finding,) = look(tmp_path, "wrong-normalisation", transforms_py=NORMALIZE, train_py=RESNET)
    assert finding.level is Level.WARNING
    assert finding.fix is not None
    assert "0.485" in finding.fix.text


def test_constants_beside_several_networks_are_left_alone(tmp_path: Path) -> None:
    siglip = "from transformers import AutoModel\nAutoModel.from_pretrained('google/siglip-base-patch16-224')\n"
    assert look(tmp_path, "wrong-normalisation", transforms_py=NORMALIZE, a_py=RESNET, b_py=siglip) == []
