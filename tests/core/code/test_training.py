"""What is read of training loops."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.core.code.mode import trainings
from snellen.core.code.networks import ending_of
from snellen.core.code.scaling import autocasts
from snellen.core.code.training import accumulations, backwards, callees, is_optimizer, is_scheduler, updates
from source_facts import facts


@pytest.mark.parametrize(
    "name", ["optimizer", "self.opt", "optim_G", "optimizerD", "opts[0]", "g_optimizer", "optimiser"]
)
def test_optimisers_by_name(name: str) -> None:
    assert is_optimizer(name)
    assert not is_scheduler(name)


@pytest.mark.parametrize("name", ["scheduler", "self.lr_scheduler", "exp_lr_scheduler", "sched", "schedulers[0]"])
def test_schedulers_by_name(name: str) -> None:
    assert is_scheduler(name)
    assert not is_optimizer(name)


@pytest.mark.parametrize("name", ["profiler", "env", "noise_scheduler", "options", "self.env", "adopted"])
def test_what_is_neither(name: str) -> None:
    assert not is_optimizer(name)
    assert not is_scheduler(name)


LOOP = """
import torch
from helpers import clip
def train(model, loader, optimizer, scaler, accelerator, n):
    for i, x in enumerate(loader):
        with torch.autocast("cuda", dtype=HALF):
            loss = model(x)
        scaler.scale(loss / n).backward()
        if (i + 1) % n == 0:
            clip(optimizer)
            scaler.step(optimizer)
            optimizer.zero_grad()
    accelerator.backward(loss)
    loss = scaler.scale(loss)
    loss.backward(retain_graph=True)
    optimizer.step()
HALF = torch.float16
"""


def test_gradients_steps_and_accumulation(tmp_path: Path) -> None:
    file = facts(tmp_path, LOOP, helpers="def clip(optimizer):\n    unscale(optimizer)\n")
    assert [(found.loss, found.how) for found in backwards(file)] == [
        ("loss / n", "scaled"),
        ("loss", "delegated"),
        ("loss", "scaled"),
    ]
    assert [(step.optimizer, step.scaler) for step in updates(file)] == [("optimizer", "scaler"), ("optimizer", None)]
    (found,) = accumulations(file)
    assert (found.steps, found.test, found.clears_each_batch) == ("n", "(i + 1) % n == 0", None)
    assert [(cast.dtype, cast.call.name) for cast in autocasts(file)] == [("float16", "torch.autocast")]
    (loop,) = file.loops
    assert [block.name for _, block in callees(file, loop.span)] == ["clip"]
    (training,) = trainings(file)
    assert training.loop == training.batches == loop


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("F.softmax(x, dim=1)", "softmax"),
        ("x.softmax(1).view(-1, 3)", "softmax"),
        ("nn.Sigmoid()(x)", "sigmoid"),
        ("Net()(x)", "softmax"),
        ("nn.Sequential(nn.Linear(2, 2), Net())(x)", "softmax"),
        ("nn.DataParallel(Net()).cuda()(x)", "softmax"),
        ("nn.Sequential(OrderedDict([('a', nn.Linear(2, 2)), ('b', nn.Softmax(dim=1))]))(x)", "softmax"),
        ("nn.Sequential(OrderedDict([('a', nn.Softmax(dim=1)), ('b', nn.Linear(2, 2))]))(x)", None),
        ("F.log_softmax(x, dim=1)", None),
        ("torch.log(F.softmax(x, dim=1))", None),
        ("Either()(x)", None),
        ("x", None),
    ],
)
def test_how_a_value_ends(tmp_path: Path, value: str, kind: str | None) -> None:
    file = facts(
        tmp_path,
        f"""
        from collections import OrderedDict
        import torch
        import torch.nn.functional as F
        from torch import nn
        class Net(nn.Module):
            def forward(self, x):
                y = x.softmax(dim=1)
                return y
        class Either(nn.Module):
            def forward(self, x):
                if self.training:
                    return x
                return F.softmax(x, dim=1)
        look({value})
        """,
    )
    look = next(call for call in file.calls if call.name == "look")
    ending = ending_of(file, look.arguments[0].origin)
    assert (ending.kind if ending is not None else None) == kind
