"""Rules of training loops: what they say while a run goes on, and that their fixes mend what they found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from snellen.core.step import Action, Step
from snellen.guard.watcher import RuleGuard
from snellen.lint.fixes import fix_files
from snellen.lint.runner import chosen_rules, run
from snellen.rules.catalogue import get

HERE = Path(__file__).parent
WHOLLY_MENDED = [
    "zero-grad-missing/bad_loop.py",
    "zero-grad-missing/bad_trainer.py",
    "step-order/bad_batch.py",
    "step-order/bad_epoch.py",
    "accumulation-cleared/bad_cleared.py",
    "accumulation-not-divided/bad_accumulate.py",
    "method-not-called/bad_loop.py",
    "frozen-not-frozen/bad_modules.py",
    "frozen-not-frozen/bad_typos.py",
    "optimizer-misses-parameters/bad_lists.py",
    "optimizer-misses-parameters/bad_order.py",
    "training-in-eval-mode/bad_epochs.py",
    "metric-on-train-mode/bad_inline.py",
    "scaler-missing/bad_default.py",
    "scaler-with-bfloat16/bad_enabled.py",
    "softmax-before-cross-entropy/bad_models.py",
    "softmax-before-cross-entropy/bad_lightning.py",
    "sigmoid-before-bce-with-logits/bad_models.py",
]


@pytest.mark.parametrize("name", WHOLLY_MENDED)
def test_all_fixes_together_leave_nothing_to_find(name: str, tmp_path: Path) -> None:
    path = tmp_path / "source.py"
    shutil.copy(HERE / name, path)
    rules = chosen_rules()
    fixed = fix_files(run([path], rules), unsafe=True, write=True, again=lambda: run([path], rules))
    assert not fixed.errors
    assert fixed.applied
    assert not run([path], rules).findings


def steps(norms: list[float], loss: float = 0.7) -> list[Step]:
    return [Step(0, number, loss, norm, 1e-3) for number, norm in enumerate(norms)]


def actions(norms: list[float], loss: float = 0.7) -> list[Action]:
    guard = RuleGuard([get("detached-loss")])
    return [verdict.action for step in steps(norms, loss) for verdict in guard.observe(step)]


def test_a_run_without_any_gradient_is_stopped_once() -> None:
    assert actions([0.0] * 60) == [Action.STOP]


@pytest.mark.parametrize(
    ("norms", "loss"),
    [
        ([1.0, 0.0] * 40, 0.7),
        ([0.0] * 24 + [1e-12] + [0.0] * 24, 0.7),
        ([0.0] * 60, 0.0),
        ([0.0] * 60, float("nan")),
    ],
)
def test_a_gradient_now_and_then_or_a_loss_of_zero_is_left_alone(norms: list[float], loss: float) -> None:
    assert actions(norms, loss) == []
