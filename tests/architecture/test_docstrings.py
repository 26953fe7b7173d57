"""Every example in a docstring runs and prints what it says; all in this one process."""

from __future__ import annotations

import doctest
import importlib
import random

import pytest

from source_tree import Module, public_modules

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.REPORT_ONLY_FIRST_FAILURE

WITH_EXAMPLES = [module for module in public_modules() if ">>> " in module.text]


@pytest.mark.parametrize("module", WITH_EXAMPLES, ids=lambda module: module.place)
def test_examples_run(module: Module, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    random.seed(0)
    outcome = doctest.testmod(importlib.import_module(module.name), optionflags=OPTIONS)
    assert outcome.failed == 0, capsys.readouterr().out
    assert outcome.attempted, f"{module.place} holds `>>>` outside of any docstring that doctest finds"


def test_examples_were_found() -> None:
    assert len(WITH_EXAMPLES) >= 10
