"""Failures provoked here and now, with the libraries that are installed, are explained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from provoke import CASES, provoke
from snellen.explain import explain

NUMBER_OF_CASES = 28


def test_all_cases_are_there() -> None:
    assert len(CASES) >= NUMBER_OF_CASES


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_what_libraries_print_today_is_understood(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = provoke(name, tmp_path)
    assert text, "it no longer fails: the example has to go, and the page to be mended"
    assert explain(text)[0].slug == CASES[name][0]
