"""Lets the tests of this folder, and the processes they start, import the tiny recipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snellen.core.run_folder import RunFolder

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    """A new run's folder."""
    with RunFolder.create(tmp_path, "run") as made:
        yield made
