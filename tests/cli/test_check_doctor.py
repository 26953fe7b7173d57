"""`snellen check` and `snellen doctor`: what they print, what they change, how they end."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from drivers import Card, nvidia_smi
from snellen.cli.main import main


@pytest.fixture
def snellen(monkeypatch, capsys):
    """Runs the command line in this process; gives exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["snellen", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def run_file(tmp_path, photo):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for kind in ("forged", "masks", "authentic"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    mask = Image.new("L", (256, 192), 0)
    mask.paste(255, (140, 90, 200, 150))
    mask.save(tmp_path / "train" / "masks" / "a.png")
    for kind, name in (("forged", "astronaut"), ("authentic", "coffee")):
        picture = Image.fromarray(photo(name)).crop((40, 20, 296, 212))
        picture.save(tmp_path / "train" / kind / f"{name if kind == 'authentic' else 'a'}.png")
    path = tmp_path / "run.yaml"
    path.write_text("task: forgery  # copies\ndata: {train: train}\n")
    return path


def test_a_sound_run_ends_with_zero_and_the_next_command(snellen, run_file):
    code, out, err = snellen("check", run_file)
    assert code == 0
    assert "Traceback" not in err
    assert f"{run_file}: no findings" in out
    assert "precision" in out
    assert out.rstrip().endswith(f"next: snellen train {run_file}")


def test_findings_are_told_with_place_and_fix_and_end_with_one(snellen, run_file):
    run_file.write_text("task: forgery\ndata: {train: Train}\noptim: {lr: '1e-4'}\n")
    code, out, _ = snellen("check", run_file)
    assert code == 1
    assert f"{run_file}:3:13 (optim.lr)" in out
    assert "optim.lr is '1e-4' (text), expected a number above 0" in out
    assert "Write optim.lr: 0.0001  (--fix applies it)" in out
    assert "split-case" in out
    assert out.rstrip().endswith(f"next: snellen check {run_file} --fix")


def test_fix_mends_what_is_safe_and_says_what_is_left(snellen, run_file):
    run_file.write_text("task: forgery  # copies\ndata: {train: Train, val: vall}\noptim: {lr: '1e-4', epocs: 2}\n")
    code, out, _ = snellen("check", run_file, "--fix")
    assert code == 1
    assert run_file.read_text() == (
        "task: forgery  # copies\ndata: {train: train, val: vall}\noptim: {lr: 0.0001, epochs: 2}\n"
    )
    assert "mended 3 findings" in out
    assert "left for you" in out
    assert "missing-file" in out
    code, out, _ = snellen("check", run_file, "data.val=train", "--fix")
    assert code == 0
    assert "mended" not in out


def test_json_is_one_object_and_nothing_else(snellen, run_file):
    run_file.write_text("task: forgery\ndata: {train: train}\noptim: {lr: 0}\n")
    code, out, err = snellen("check", run_file, "--json")
    data = json.loads(out)
    assert (code, err, data["exit_code"]) == (1, "", 1)
    assert [(finding["slug"], finding["key"], finding["line"]) for finding in data["findings"]] == [
        ("config-type", "optim.lr", 3)
    ]
    assert sum(data["counts"].values()) == len(data["checks"])
    assert all(check["reason"] for check in data["checks"] if check["state"] in {"skipped", "not-applicable"})
    code, out, _ = snellen("check", run_file, "--json", "--fix")
    assert json.loads(out)["left"][0]["why"]


def test_selection_muting_and_cost(snellen, run_file):
    run_file.write_text("task: forgery\ndata: {train: nowhere}\noptim: {lr: 0}\n")
    assert snellen("check", run_file, "--select", "data")[0] == 1
    code, out, _ = snellen("check", run_file, "--ignore", "config-type", "--ignore", "data")
    assert code == 0
    assert "muted" in out
    code, out, _ = snellen("check", run_file, "--max-cost", "instant")
    assert code == 1
    assert "--max-cost seconds runs it" in out
    code, _, err = snellen("check", run_file, "--select", "nonsense")
    assert code == 2
    assert "snellen rules" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "run.yaml: there is no such file or folder\nhint: give a run file"),
        ("task: [", "not valid YAML"),
        ("seed: 1\n", "no `task`"),
        ("task: forgry\n", "did you mean forgery?"),
        ("task: forgery\n" + "x" * 300_000, "larger than 256 KiB"),
    ],
)
def test_what_cannot_be_judged_is_one_clear_line_and_two(snellen, run_file, text, words):
    if text is None:
        run_file.unlink()
    else:
        run_file.write_text(text)
    code, out, err = snellen("check", run_file)
    assert (code, out) == (2, "")
    assert err.startswith("snellen: ")
    assert words in err
    assert "Traceback" not in err


def test_overrides_that_are_wrong(snellen, run_file):
    code, out, _ = snellen("check", run_file, "optim.lr=high")
    assert code == 1
    assert "command line (optim.lr)" in out
    assert snellen("check", run_file, "optim.lr")[0] == 2


def test_markup_in_a_value_is_not_taken_for_colour(snellen, run_file):
    run_file.write_text("task: forgery\ndata: {train: '[red]x[/nope]'}\n")
    code, out, _ = snellen("check", run_file)
    assert code == 1
    assert "[red]x[/nope]" in out


def test_findings_in_the_runs_own_code_count(snellen, run_file):
    (run_file.parent / "model.py").write_text(
        "def mask(scores, hidden):\n    return scores.half().masked_fill(hidden, -1e9)\n"
    )
    run_file.write_text("task: forgery\ndata: {train: train}\ncode: [model.py]\n")
    code, out, _ = snellen("check", run_file)
    assert code == 1
    assert "fill-out-of-range" in out
    assert "model.py:2" in out


def test_train_refuses_a_run_with_errors(snellen, run_file):
    run_file.write_text("task: forgery\ndata: {train: nowhere}\n")
    code, out, err = snellen("train", run_file)
    assert (code, out) == (1, "")
    assert "missing-file" in err
    assert "mend the errors above" in err


def test_doctor_names_the_machine(snellen):
    code, out, err = snellen("doctor", "--torch")
    assert (code, err) == (0, "")
    for words in ("python", "memory", "packages", "computes on cpu", "next: ", "start method"):
        assert words in out


def test_doctor_as_json(snellen):
    code, out, _ = snellen("doctor", "--json")
    data = json.loads(out)
    assert data["exit_code"] == code
    assert "torch" in data["environment"]["packages"]
    assert data["machine"]["here"]
    assert all(check["reason"] for check in data["checks"] if check["state"] == "not-applicable")


def test_doctor_without_torch_is_told_what_to_install(tmp_path):
    """An environment of links to this one's packages, without torch and timm."""
    for name in ("typer", "rich", "pydantic", "numpy", "pillow", "safetensors", "torchvision"):
        (tmp_path / f"{name}-9.9.0.dist-info").mkdir()
    packages = {module: importlib.util.find_spec(module).submodule_search_locations[0] for module in ("typer", "rich")}
    for module in ("click", "shellingham", "annotated_doc", "markdown_it", "mdurl", "pygments", "snellen"):
        spec = importlib.util.find_spec(module)
        packages |= {module: spec.submodule_search_locations[0]} if spec else {}
    for module, folder in packages.items():
        (tmp_path / module).symlink_to(folder)
    (tmp_path / "typing_extensions.py").symlink_to(importlib.util.find_spec("typing_extensions").origin)
    program = "import sys; sys.argv = ['snellen', 'doctor']; from snellen.cli.main import main; main()"
    ended = subprocess.run(
        [sys.executable, "-S", "-E", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    assert "not installed: torch, timm, lightning-fabric" in ended.stdout
    assert "pip install 'snellen[vision]'" in ended.stdout


def test_doctor_survives_a_broken_torch(snellen, tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.12: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, out, _ = snellen("doctor", "--torch")
    assert code == 1
    assert "libcudart.so.12" in out


def test_doctor_judges_driver_gpu_and_variables_of_the_machine(snellen, tmp_path, monkeypatch):
    nvidia_smi(
        tmp_path,
        Card("Tesla P100-PCIE-16GB", "6.0", 16384),
        Card("NVIDIA A100-SXM4-40GB", "8.0", 40960, free=10240, processes=((4711, "python", 30000),)),
        driver="535.104.05",
        cuda="12.2",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "512")
    code, out, _ = snellen("doctor", "--json")
    slugs = {finding["slug"]: finding for finding in json.loads(out)["findings"]}
    assert code == 1
    assert {"cuda-driver-too-old", "cuda-arch-unsupported", "gpu-occupied", "debug-variable-left-on"} <= set(slugs)
    assert "Tesla P100" in slugs["cuda-arch-unsupported"]["message"]
    assert "driver 535.104.05" in slugs["cuda-driver-too-old"]["message"]
    assert "python (4711)" in slugs["gpu-occupied"]["message"]
    assert slugs["gpu-occupied"]["fix"]["command"] == "export CUDA_VISIBLE_DEVICES=0"
    assert "thread-oversubscription" in slugs
    _, text, _ = snellen("doctor")
    assert "535.104.05, runs CUDA up to 12.2" in text
    assert "0: Tesla P100-PCIE-16GB, compute capability 6.0, no bfloat16, 16.0 GiB" in text


def test_doctor_in_a_folder_that_is_gone(snellen, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert snellen("doctor") == (
        2,
        "",
        "snellen: the current folder does not exist any more\nhint: cd into another one\n",
    )
