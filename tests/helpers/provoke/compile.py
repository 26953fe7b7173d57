"""Failures of the family compile."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

from provoke.machinery import case, run_script


def _script(folder: Path, text: str) -> str:
    (folder / "train.py").write_text(textwrap.dedent(text).lstrip())
    return run_script(folder, "train.py")


@case("dynamo-unsupported")
def branch_on_a_value(folder: Path) -> str:
    return _script(
        folder,
        """
        import torch


        class Head(torch.nn.Module):
            def forward(self, scores):
                if scores.max() > 0.5:
                    return scores
                return scores * 2


        head = torch.compile(Head(), fullgraph=True, backend="eager")
        head(torch.rand(2, 3))
        """,
    )


@case("dynamo-unsupported")
def printed_in_the_graph(folder: Path) -> str:
    return _script(
        folder,
        """
        import torch


        @torch.compile(fullgraph=True, backend="eager")
        def step(x):
            y = x * 2
            print("mean", y.shape)
            return y


        step(torch.ones(3))
        """,
    )


@case("dynamo-unsupported")
def checkpoint_in_compiled_backward(folder: Path) -> str:
    return _script(
        folder,
        """
        import torch
        from torch.utils.checkpoint import checkpoint


        def block(x):
            return torch.relu(x)


        x = torch.ones(3, requires_grad=True)
        loss = checkpoint(block, x, use_reentrant=True).sum()
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager", fullgraph=True)):
            loss.backward()
        """,
    )


@case("recompile-limit")
def counter_on_the_module(folder: Path) -> str:
    return _script(
        folder,
        """
        import torch


        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(3, 3)
                self.calls = 0

            def forward(self, x):
                self.calls += 1
                return self.layer(x) * self.calls


        net = torch.compile(Net(), backend="eager")
        for _ in range(10):
            net(torch.ones(2, 3))
        """,
    )


@case("recompile-limit")
def sizes_kept_static(folder: Path) -> str:
    return _script(
        folder,
        """
        import torch


        @torch.compile(backend="eager", dynamic=False, fullgraph=True)
        def features(image):
            return image.mean(0)


        for side in range(16, 32):
            features(torch.ones(3, side))
        """,
    )


@case("triton-missing")
def no_triton(folder: Path) -> None:
    from torch._inductor.exc import TritonMissing

    raise TritonMissing(inspect.currentframe())


@case("triton-missing")
def triton_not_importable(folder: Path) -> str:
    bare = "import sys\nsys.path = [path for path in sys.path if 'site-packages' not in path]\n"
    return _script(folder, f"{bare}import triton\n")
