"""Failures of the family environment."""

from __future__ import annotations

import socket
import textwrap
import warnings
from pathlib import Path

import torch

from provoke.machinery import case, run_script


@case("wrong-project-root")
def started_in_tools(folder: Path) -> str:
    (folder / "utils").mkdir()
    (folder / "tools").mkdir()
    (folder / "utils" / "__init__.py").write_text("")
    (folder / "tools" / "train.py").write_text("from utils import helper\n")
    return run_script(folder, "tools/train.py")


@case("wrong-project-root")
def relative_import_in_script(folder: Path) -> str:
    (folder / "train.py").write_text("from .model import build\n")
    return run_script(folder, "train.py")


@case("wrong-project-root")
def nested_clone(folder: Path) -> str:
    (folder / "detector" / "detector").mkdir(parents=True)
    (folder / "detector" / "detector" / "__init__.py").write_text("build = 1\n")
    (folder / "train.py").write_text("from detector import build\n")
    return run_script(folder, "train.py")


@case("stale-module")
def pulled_after_import(folder: Path) -> str:
    (folder / "model.py").write_text("VERSION = 1\n")
    (folder / "cells.py").write_text(
        textwrap.dedent("""
        import model
        open("model.py", "w").write("VERSION = 2\\ndef build():\\n    return 1\\n")
        print("Updating 1f3c2aa..9be01d4\\nFast-forward\\n model.py | 3 ++-\\n 1 file changed, 2 insertions(+)")
        from model import build
        """)
    )
    return run_script(folder, "cells.py")


def _script(folder: Path, text: str) -> str:
    (folder / "train.py").write_text(textwrap.dedent(text).lstrip())
    return run_script(folder, "train.py")


@case("torchvision-torch-mismatch")
def operators_not_loaded(folder: Path) -> None:
    from torchvision import extension

    has_ops, extension._has_ops = extension._has_ops, lambda: False
    try:
        import torchvision

        boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
        torchvision.ops.nms(boxes, torch.tensor([0.9]), 0.5)
    finally:
        extension._has_ops = has_ops


@case("missing-package")
def not_installed(folder: Path) -> str:
    return _script(folder, "from segment_anything import sam_model_registry\n")


@case("missing-package")
def named_otherwise_by_pip(folder: Path) -> str:
    bare = "import sys\nsys.path = [path for path in sys.path if 'site-packages' not in path]\n"
    return _script(folder, f"{bare}from skimage import io\n")


@case("missing-package")
def metadata_missing(folder: Path) -> None:
    from importlib.metadata import version

    version("albumentations")


@case("cpu-only-torch")
def without_cuda(folder: Path) -> None:
    # A build without CUDA lacks this function; what asks for it is torch's own.
    counts = getattr(torch._C, "_cuda_getDeviceCount", None)
    if counts is not None:
        del torch._C._cuda_getDeviceCount
    try:
        torch.nn.Linear(4, 2).to("cuda")
    finally:
        if counts is not None:
            torch._C._cuda_getDeviceCount = counts


@case("cuda-arch-unsupported")
def warned_of_capability(folder: Path) -> str:
    named = torch.cuda.get_device_name
    torch.cuda.get_device_name = lambda index: "NVIDIA GeForce RTX 5080"  # type: ignore[assignment]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda._warn_unsupported_code(0, 120, [50, 60, 70, 75, 80, 86, 90])
    finally:
        torch.cuda.get_device_name = named
    return "".join(warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in caught)


@case("numpy-abi")
def built_for_numpy_1(folder: Path) -> str:
    # What a module that was built for NumPy 1 asks of NumPy 2 when it is imported.
    return _script(folder, "import numpy.core._multiarray_umath as core\ncore._ARRAY_API\n")


@case("disk-full")
def full_while_logging(folder: Path) -> None:
    with Path("/dev/full").open("w") as file:
        file.write("epoch 3, loss 0.21\n" * 10_000)


@case("disk-full")
def full_while_saving(folder: Path) -> None:
    torch.save({"model": torch.zeros(1 << 16)}, "/dev/full")


@case("invalid-device-ordinal")
def no_gpu_visible(folder: Path) -> str | None:
    if not torch.cuda.is_available():
        torch._C._cuda_init() if torch.version.cuda else _no_gpus()
    return _script(folder, "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = ''\nimport torch\ntorch.cuda.init()\n")


def _no_gpus() -> None:
    raise RuntimeError("No CUDA GPUs are available")


@case("invalid-device-ordinal")
def saved_on_another_gpu(folder: Path) -> None:
    torch.save(torch.zeros(2), folder / "model.pt")
    known = torch.cuda.is_available, torch.cuda.device_count
    torch.cuda.is_available, torch.cuda.device_count = lambda: True, lambda: 1
    try:
        torch.load(folder / "model.pt", map_location="cuda:1", weights_only=True)
    finally:
        torch.cuda.is_available, torch.cuda.device_count = known


@case("address-in-use")
def store_on_a_taken_port(folder: Path) -> None:
    from torch import distributed

    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        distributed.TCPStore("127.0.0.1", taken.getsockname()[1], 1, is_master=True)


@case("address-in-use")
def server_on_a_taken_port(folder: Path) -> None:
    with socket.socket() as taken, socket.socket() as server:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server.bind(taken.getsockname())
