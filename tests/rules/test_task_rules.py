"""What the rules of tasks do besides logs and source: while a run goes on, before it starts, and on this machine."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from snellen.core.log import Log, LogLine
from snellen.core.plan import NotApplicable
from snellen.core.probe import Outcome
from snellen.core.rule import BeforeFacet, DuringFacet, LogFacet
from snellen.core.step import Action, Step
from snellen.rules.catalogue import get


def watch(slug, steps):
    facet = get(slug).during
    assert isinstance(facet, DuringFacet)
    look = facet.start()
    return [verdict for step in steps if (verdict := look(step)) is not None]


def step(number, loss, *, norm=1.0, epoch=None, lr=1e-3, logs=None):
    return Step(number // 100 if epoch is None else epoch, number, loss, norm, lr, logs=logs or {})


def noisy(mean, share):
    draw = random.Random(0)
    return lambda: mean * (1 + draw.uniform(-share, share))


def test_a_loss_at_the_logarithm_of_the_classes_is_told_once():
    value = noisy(math.log(10), 2e-4)
    verdicts = watch("stuck-at-chance", [step(number, value()) for number in range(2000)])
    assert [verdict.action for verdict in verdicts] == [Action.CONTINUE]
    assert "ln 10" in verdicts[0].finding.message
    assert verdicts[0].finding.fix is not None


def test_gradients_that_are_all_zero_are_told():
    verdicts = watch("stuck-at-chance", [step(number, 1.234, norm=0.0) for number in range(60)])
    assert len(verdicts) == 1
    assert "exactly 0" in verdicts[0].finding.message


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([math.log(10) * 0.999**n for n in range(3000)], id="falls from chance"),
        pytest.param([math.log(10) + 1e-4 * math.sin(n) for n in range(500)], id="a healthy start"),
        pytest.param([0.02 + 0.001 * (n % 7) for n in range(3000)], id="converged"),
        pytest.param([1.2345] * 3000, id="no class meaning"),
        pytest.param([math.log(2) + 0.02 * math.sin(n) for n in range(3000)], id="noisy around ln 2"),
    ],
)
def test_healthy_losses_are_left_alone(losses):
    assert watch("stuck-at-chance", [step(number, loss) for number, loss in enumerate(losses)]) == []


def test_a_loss_that_is_not_finite_is_not_this():
    assert watch("stuck-at-chance", [step(number, float("nan")) for number in range(2000)]) == []


def test_an_overlap_that_stays_zero_is_told_once_and_late():
    steps = [step(number, 0.1, logs={"train_f1": 0.0, "lr": 0.1}) for number in range(3000)]
    verdicts = watch("single-class-prediction", steps)
    assert [verdict.action for verdict in verdicts] == [Action.CONTINUE]
    assert "train_f1" in verdicts[0].finding.message
    assert "step 1500" in verdicts[0].finding.message


def test_an_overlap_that_rises_and_other_numbers_are_left_alone():
    rising = [step(number, 0.1, logs={"train_f1": max(0.0, number / 3000 - 0.4)}) for number in range(3000)]
    assert watch("single-class-prediction", rising) == []
    assert watch("single-class-prediction", [step(n, 0.1, logs={"reached": 0.0}) for n in range(3000)]) == []
    assert watch("single-class-prediction", [step(n, 0.1, epoch=0, logs={"iou": 0.0}) for n in range(3000)]) == []


class Settings:
    """A plan of nothing but settings."""

    path, root = None, Path()

    def __init__(self, **settings):
        self.settings = settings

    def line_of(self, key):
        return 3


def before(slug, **settings):
    facet = get(slug).before
    assert isinstance(facet, BeforeFacet)
    return list(facet.examine(Settings(**settings)))  # type: ignore[arg-type]


def test_settings_that_name_two_variants_of_sam_are_found_and_mended():
    found = before("sam-variant-mismatch", model={"variant": "vit_b", "weights": "weights/sam_vit_h_4b8939.pth"})
    assert [finding.slug for finding in found] == ["sam-variant-mismatch"]
    assert found[0].fix is not None
    assert found[0].fix.settings == (("model.variant", "vit_h"),)


def test_settings_that_fit_pass_and_others_are_not_asked():
    assert before("sam-variant-mismatch", model={"variant": "vit_h", "weights": "sam_hq_vit_h.pth"}) == []
    with pytest.raises(NotApplicable, match="no checkpoint of SAM"):
        before("sam-variant-mismatch", model={"backbone": "resnet50"})


class Machine:
    """A machine that is only a folder."""

    def __init__(self, root):
        self.root = Path(root)


def probe(tmp_path, *lines):
    facet = get("sam-variant-mismatch").log
    assert isinstance(facet, LogFacet)
    assert facet.probe is not None
    log = Log(tuple(LogLine(number, text) for number, text in enumerate(lines, 1)))
    return facet.probe(log, Machine(tmp_path))  # type: ignore[arg-type]


def test_the_size_of_a_checkpoint_tells_its_variant(tmp_path):
    with (tmp_path / "sam_vit_h.pth").open("wb") as file:
        file.truncate(375_042_383)
    asked = "amg.py --checkpoint sam_vit_h.pth --model-type vit_h"
    assert probe(tmp_path, asked).outcome is Outcome.CONFIRMED
    assert probe(tmp_path, asked.replace("type vit_h", "type vit_b")).outcome is Outcome.REFUTED
    assert probe(tmp_path, "loading sam_vit_h.pth").outcome is Outcome.CANNOT_TELL
    assert probe(tmp_path, "loading sam_vit_l.pth").outcome is Outcome.CANNOT_TELL
