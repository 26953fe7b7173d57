"""Libraries that thousands of people run: what lint says of them has been read by a person, line by line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from snellen.lint.runner import chosen_rules, run

READ = {
    # Sets `requires_grad` of a module, where its parameters are meant.
    "timm": {("models/pvt_v2.py", "frozen-not-frozen")},
    "torchvision": set(),
    # Loads the few layers of its own weight file into a model that holds a pretrained network, too, and drops the
    # list of the others.
    "torchmetrics": {("functional/image/lpips.py", "silent-random-weights")},
}


@pytest.mark.slow
@pytest.mark.parametrize("package", READ)
def test_nothing_is_said_that_is_not_true(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    report = run([root], chosen_rules())
    assert report.errors == []
    assert report.files > 100
    found = {(Path(f.location.path).relative_to(root).as_posix(), f.slug) for f in report.findings if f.location}
    assert found == READ[package]
