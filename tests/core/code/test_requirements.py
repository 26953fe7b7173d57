"""What a file installs, as commands and as lists."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snellen.core.code.requirements import Installation, installations, pins
from source_facts import facts_of_file as facts


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ('os.system("pip install -q torch==2.0.1 -f https://x/whl timm")', [("torch", "2.0.1"), ("timm", None)]),
        ('subprocess.run([sys.executable, "-m", "pip", "install", "a_b[x]>=1"])', [("a-b", None)]),
        ('os.system(f"{sys.executable} -m pip install numpy==1.26.4")', [("numpy", "1.26.4")]),
        ('os.system("conda install -y -c pytorch pytorch=1.10.1=py3.9_cuda")', [("pytorch", "1.10.1")]),
        ('os.system("cd x && pip install . && echo pip install later")', []),
        ("os.system(command)", []),
    ],
)
def test_commands_of_a_script_are_read(code: str, wanted: list[tuple[str, str | None]], tmp_path: Path) -> None:
    file = facts(tmp_path / "setup_colab.py", f"import os, subprocess, sys\n{code}\n")
    assert [(item.name, item.version) for found in installations(file) for item in found.requirements] == wanted


def test_commands_of_a_notebook_are_read(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": ["!pip install torch==2.1.0\n", "%pip install -U timm\n"]}]
    file = facts(tmp_path / "a.ipynb", json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    assert {name: item.specifier for name, item in pins(file).items()} == {"torch": "==2.1.0", "timm": ""}


def test_an_environment_file_lists_what_conda_and_pip_install(tmp_path: Path) -> None:
    text = "dependencies:\n  - python=3.9\n  - pytorch::pytorch=1.10.1\n  - pip:\n    - numpy>=2,<3\n    - git+https://x/y\n"
    found = {item.tool: item for item in installations(facts(tmp_path / "environment.yml", text))}
    assert [item.version for item in found["conda"].requirements] == ["3.9", "1.10.1"]
    assert [item.specifier for item in found["pip"].requirements] == [">=2,<3"]
    assert found["pip"].exact


def test_a_requirement_is_replaced_where_it_stands(tmp_path: Path) -> None:
    file = facts(tmp_path / "a.py", 'import os\nos.system("pip install sklearn timm")\n')
    found: Installation = next(iter(installations(file)))
    (edit,) = found.edits(file, found.requirements[0], "scikit-learn")
    assert edit.replacement == 'os.system("pip install scikit-learn timm")'
    assert (edit.start_line, edit.start_column) == (2, 0)
