"""Failures of the family compile."""

from __future__ import annotations

import inspect
import io
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.checkpoint import checkpoint

from provoke.machinery import case, run_script


class _Head(torch.nn.Module):
    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        if scores.max() > 0.5:
            return scores
        return scores * 2


class _Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.layer(x) * self.calls


def _print_shape(x: torch.Tensor) -> torch.Tensor:
    y = x * 2
    print("mean", y.shape)
    return y


def _mean(image: torch.Tensor) -> torch.Tensor:
    return image.mean(0)


# What torch starts with: an import elsewhere may have raised it for the whole process.
_LIMIT = 8


def _logged(run: Callable[[], object]) -> str:
    """What the compiler logs while something runs."""
    stream = io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("torch._dynamo")
    logger.addHandler(handler)
    try:
        run()
    finally:
        logger.removeHandler(handler)
        torch._dynamo.reset()
    return stream.getvalue()


@case("dynamo-unsupported")
def branch_on_a_value(folder: Path) -> None:
    torch.compile(_Head(), fullgraph=True, backend="eager")(torch.rand(2, 3))


@case("dynamo-unsupported")
def printed_in_the_graph(folder: Path) -> None:
    torch.compile(_print_shape, fullgraph=True, backend="eager")(torch.ones(3))


@case("dynamo-unsupported")
def checkpoint_in_compiled_backward(folder: Path) -> None:
    loss = checkpoint(torch.relu, torch.ones(3, requires_grad=True), use_reentrant=True).sum()
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager", fullgraph=True)):
        loss.backward()


@case("recompile-limit")
def counter_on_the_module(folder: Path) -> str:
    net = torch.compile(_Net(), backend="eager")
    with torch._dynamo.config.patch(recompile_limit=_LIMIT):
        return _logged(lambda: [net(torch.ones(2, 3)) for _ in range(_LIMIT + 2)])


@case("recompile-limit")
def sizes_kept_static(folder: Path) -> None:
    features = torch.compile(_mean, backend="eager", dynamic=False, fullgraph=True)
    try:
        with torch._dynamo.config.patch(recompile_limit=_LIMIT):
            for side in range(16, 32):
                features(torch.ones(3, side))
    finally:
        torch._dynamo.reset()


@case("triton-missing")
def no_triton(folder: Path) -> None:
    from torch._inductor.exc import TritonMissing

    raise TritonMissing(inspect.currentframe())


@case("triton-missing")
def triton_not_importable(folder: Path) -> str:
    bare = "import sys\nsys.path = [path for path in sys.path if 'site-packages' not in path]\n"
    (folder / "train.py").write_text(f"{bare}import triton\n")
    return run_script(folder, "train.py")
