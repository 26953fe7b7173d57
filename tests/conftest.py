"""What every test can rely on: no leaks from the test before, one thread count, photographs without a network."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snellen._env import shared_folder

# Sums over several threads differ in the last bit; subprocesses inherit these.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

# What tests measure of their images is remembered for this run only; subprocesses inherit this, too.
_CACHE = tempfile.TemporaryDirectory(prefix="snellen-cache-", ignore_cleanup_errors=True)
os.environ["SNELLEN_CACHE"] = _CACHE.name

SET_BY_LIBRARIES = {
    "CUDA_MODULE_LOADING",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "LD_LIBRARY_PATH",
    "OMP_WAIT_POLICY",
    "PYTEST_CURRENT_TEST",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "TORCHINDUCTOR_CACHE_DIR",
}
"""Environment variables that pytest, scikit-learn, OpenCV, torch and Fabric set when they are first used."""

SECONDS_FOR_THREADS_TO_END = 2.0


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in SET_BY_LIBRARIES}


def _torch_state() -> dict[str, Any]:
    """Global switches of torch; empty while nobody has imported it."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):
        return {}
    return {
        "default dtype": torch.get_default_dtype(),
        "gradient mode": torch.is_grad_enabled(),
        "thread count": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _restore_torch(state: dict[str, Any]) -> None:
    import torch

    torch.set_default_dtype(state["default dtype"])
    torch.set_grad_enabled(state["gradient mode"])
    torch.set_num_threads(state["thread count"])
    torch.use_deterministic_algorithms(state["deterministic algorithms"])


def _new_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that a test started and that do not end by themselves soon."""
    deadline = time.monotonic() + SECONDS_FOR_THREADS_TO_END
    while True:
        left = [thread for thread in threading.enumerate() if thread not in before]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail a test that leaves the process other than it found it, and put things back for the next one."""
    environment, folder, threads, torch_state = _environment(), Path.cwd(), set(threading.enumerate()), _torch_state()
    yield
    leaks = []
    after = _environment()
    if after != environment:
        changed = {name for name in after.keys() | environment.keys() if after.get(name) != environment.get(name)}
        leaks.append(f"environment variables {sorted(changed)}")
        for name in changed:
            os.environ.pop(name, None)
        os.environ.update({name: environment[name] for name in changed & environment.keys()})
    if Path.cwd() != folder:
        leaks.append(f"working directory {Path.cwd()}")
        os.chdir(folder)
    if left := _new_threads(threads):
        leaks.append(f"threads {[thread.name for thread in left]}")
    torch_now = _torch_state()
    if torch_state and torch_now != torch_state:
        leaks.append(f"torch {[name for name in torch_state if torch_now[name] != torch_state[name]]}")
        _restore_torch(torch_state)
    if leaks:
        pytest.fail("the test leaks " + "; ".join(leaks))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests on real data; put first what trains in forked children, which cannot once the parent used autograd."""
    items.sort(key=lambda item: "engine" not in item.path.parts)
    acceptance = Path(__file__).parent / "acceptance"
    for item in items:
        if acceptance in item.path.parents:
            item.add_marker("acceptance")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images, logs and reference values."""
    repository = Path(__file__).resolve().parents[1]
    folder = repository / shared_folder().expanduser()
    if not folder.is_dir():
        pytest.skip(f"no folder of real data at {folder}; set SNELLEN_SHARED")
    return folder.resolve()


@cache
def _sample_folders() -> tuple[Path, ...]:
    """Where scikit-image and scikit-learn keep their photographs; neither is imported."""
    places = (("skimage", "data"), ("sklearn", "datasets/images"))
    specs = ((importlib.util.find_spec(package), folder) for package, folder in places)
    return tuple(Path(spec.origin).parent / folder for spec, folder in specs if spec is not None and spec.origin)


def _sample(name: str) -> Path:
    found = [
        path
        for folder in _sample_folders()
        for path in sorted(folder.glob(f"{name}.*"))
        if path.suffix in {".png", ".jpg"}
    ]
    if not found:
        pytest.fail(f"no sample photograph {name!r} in {[str(folder) for folder in _sample_folders()]}")
    return found[0]


@pytest.fixture(scope="session")
def photo_path() -> Callable[[str], Path]:
    """The file of a sample photograph by its name: astronaut, coffee, chelsea, rocket, china, flower, page, brick."""
    return _sample


@pytest.fixture(scope="session")
def photo() -> Callable[[str], np.ndarray]:
    """A sample photograph by its name, as RGB of shape (height, width, 3), uint8; a fresh array each time."""
    from PIL import Image

    @cache
    def load(name: str) -> np.ndarray:
        with Image.open(_sample(name)) as image:
            return np.asarray(image.convert("RGB"))

    return lambda name: load(name).copy()


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    """A Ray cluster of two workers on this machine, kept for the tests of a module."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # as the engine does; the tests run under `uv run`
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()
