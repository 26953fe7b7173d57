"""Failures of the family memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from provoke.machinery import case, run_script


@case("unfold-blowup")
def unfolded(folder: Path) -> None:
    features = torch.zeros(1, 1, 1, 1).expand(64, 4096, 4096, 4096)
    F.unfold(features, kernel_size=64, stride=1)


LIMITED = """
import resource
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
"""
"""Half a gibibyte more than the process has: what is asked for beyond that is refused, whatever the machine."""


def limited(folder: Path, lines: str, first: str) -> str:
    (folder / "limit.py").write_text(LIMITED)
    (folder / "prepare.py").write_text(f"{first}\nimport limit\n\n{lines}\n")
    return run_script(folder, "prepare.py")


@case("host-oom")
def array_of_all_images(folder: Path) -> str:
    lines = "count, side = 50_000, 224\nimages = np.zeros((count, side, side, 3), dtype=np.float32)"
    return limited(folder, lines, "import numpy as np")


@case("host-oom")
def list_of_all_images(folder: Path) -> str:
    lines = "def read(path):\n    return bytearray(2**26)\n\nimages = [read(path) for path in range(20)]"
    return limited(folder, lines, "import sys")


@case("host-oom")
def tensor_in_main_memory(folder: Path) -> str:
    return limited(folder, "frames = torch.zeros(16, 100, 3, 1080, 1920)", "import torch")


@case("host-oom")
def killed_by_the_system(folder: Path) -> str:
    (folder / "train.py").write_text(
        "import os, signal\nprint('epoch 1', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = ["bash", "-c", f"{sys.executable} train.py; exit $?"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return re.sub(r"line 1: +\d+", "line 1:  4711", done.stdout + done.stderr)


@case("memory-leak")
def losses_with_their_graphs(folder: Path) -> str:
    layer = torch.nn.Linear(256, 256)
    weights = sum(p.numel() * p.element_size() for p in layer.parameters())
    kept, lines = [], []
    for step in range(12):
        output = layer(torch.ones(512, 256))
        kept.append(output.relu().square().mean())
        held = {id(t): t.numel() * t.element_size() for loss in kept for t in saved_by(loss)}
        lines.append(
            f"step: {step} loss: {kept[-1].item():.4f} memory: {(sum(held.values()) + weights) / 2**20:.2f} MB"
        )
    return "\n".join(lines)


def saved_by(loss: torch.Tensor) -> list[torch.Tensor]:
    """The tensors that a loss holds through its graph."""
    found, waiting = [], [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        names = [name for name in dir(node) if name.startswith("_saved_")]
        found += [value for name in names if isinstance(value := getattr(node, name), torch.Tensor)]
        waiting += [parent for parent, _ in node.next_functions]
    return found
