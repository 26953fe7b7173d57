"""The published figures of the keypoint detector, on the folders of real forgeries."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("forgery_accuracy", REPOSITORY / "benchmarks" / "forgery_accuracy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their own module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_accuracy_on_real_forgeries(benchmark: ModuleType, shared: Path) -> None:
    data = shared / "data"
    if not any(data.glob("forgery_*")):
        pytest.skip(f"no folders forgery_* in {data}")
    sets = benchmark.Sets()
    results = benchmark.run(data, benchmark.make_detector("keypoint"), sets)
    summary = benchmark.summarise(results, sets)
    assert summary.masks == 23
    assert summary.mean_pixel_f1 >= 0.80
    assert summary.detection_rate >= 0.95
    assert summary.false_alarm_rate <= 0.05
