"""Pretrained weights do not help, or training has unlearned what they knew.

What happens
------------
Fine-tuning ends where a random start would have ended, or below what the features of the frozen network gave before it
began. Nothing is raised.

Why
---
Features that tell these images apart no better than a thumbnail of 8 x 8 pixels were not transferred at all: the pixels
come in another range or order of channels than in pretraining (mean and deviation, BGR, 0 to 255), the weights did not
load, or the images are of another kind (spectrograms, microscopy, X-ray) than what the weights have seen. Features
that were good and are worse after training were overwritten: the learning rate is that of a random start, all layers
learn at once from few images, or batch norm takes its statistics from small batches.

How to confirm
--------------
Fit a linear classifier to the features of the frozen network before training, and one to thumbnails; compare both with
the accuracy after fine-tuning on the same validation images. Embed ten images with the official preprocessing and
with that of the run: the vectors must be equal.

Fix
---
Features no better than pixels: check preprocessing and weights first; then take weights from nearer images, or start at
random. Features that were better before: `model.freeze: all`, then train further with a tenth of the learning rate
and a rate that falls with the depth.

When it is something else
-------------------------
A task that thumbnails solve leaves nothing to gain. Where validation holds few images the interval is wide, and
nothing is said. `silent-random-weights` is a backbone whose weights were never loaded.

Sources
-------
- Kornblith et al., Do better ImageNet models transfer better?, CVPR 2019: https://arxiv.org/abs/1805.08974
- Kumar et al., Fine-tuning can distort pretrained features and underperform out-of-distribution, ICLR 2022:
  https://arxiv.org/abs/2202.10054
- Raghu et al., Transfusion: understanding transfer learning for medical imaging, NeurIPS 2019:
  https://arxiv.org/abs/1902.07208
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.rule import DuringFacet, Rule, absent
from snellen.core.shares import wilson
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]

_LITTLE = 0.02
"""A gain over thumbnails that surely is less than two points is none."""
_SOLVED = 0.9
"""Where thumbnails are right this often, there is nothing to gain."""
_EPOCHS = 5
_FALLEN = 0.5
"""Training is judged when its learning rate is below half of its peak: before, a dip is part of the course."""


def _start() -> Callable[[Step], Verdict | None]:
    highest, told_features, told_training = 0.0, False, False

    def observe(step: Step) -> Verdict | None:
        nonlocal highest, told_features, told_training
        highest = max(highest, step.lr)
        figures = step.evaluation
        probe, pixels = figures.get("probe_accuracy"), figures.get("pixel_probe_accuracy")
        gain = figures.get("probe_gain_high")
        if probe is None or pixels is None or gain is None:
            return None
        if not told_features and gain < _LITTLE and pixels < _SOLVED:
            told_features = True
            return Verdict(Action.CONTINUE, _features(probe, pixels, gain, step))
        accuracy, images = figures.get("accuracy"), figures.get("images")
        low = figures.get("probe_accuracy_low")
        if told_training or accuracy is None or images is None or low is None:
            return None
        high = wilson(accuracy * images, images)[1]
        if step.epoch < _EPOCHS or step.lr > _FALLEN * highest or high >= low:
            return None
        told_training = True
        # What the rate has fallen to is no setting.
        return Verdict(Action.CONTINUE, _training(accuracy, high, probe, low, replace(step, lr=highest)))

    return observe


def _features(probe: float, pixels: float, gain: float, step: Step) -> Finding:
    message = (
        f"the pretrained features of {step.about.get('model', 'the network')} do not help: of the validation images a "
        f"linear probe of them is right for {probe:.3f}, one of 8 x 8 thumbnails for {pixels:.3f}; the gain is at most "
        f"{gain:+.3f} (95%)"
    )
    fix = Fix(
        "Compare the run's preprocessing with the official one, and whether the weights were loaded; else start at "
        "random: model.pretrained: false."
    )
    return Finding("transfer-without-gain", Level.WARNING, message, evidence=_evidence(step), fix=fix)


def _training(accuracy: float, high: float, probe: float, low: float, step: Step) -> Finding:
    message = (
        f"training has unlearned: validation accuracy {accuracy:.3f} (95%: at most {high:.3f}) after "
        f"{step.epoch} epochs, but a linear probe of the frozen features had {probe:.3f} (at least {low:.3f})"
    )
    fix = Fix(
        f"Freeze the network, model.freeze: all, or train with optim.lr: {step.lr / 10:.1e}.",
        FixSafety.UNSAFE,
        "which of the two does better depends on the data",
        settings=(("model.freeze", "all"),),
    )
    return Finding("transfer-without-gain", Level.WARNING, message, evidence=_evidence(step), fix=fix)


def _evidence(step: Step) -> tuple[Evidence, ...]:
    names = ("accuracy", "probe_accuracy", "probe_accuracy_low", "pixel_probe_accuracy", "probe_gain_low", "images")
    return tuple(Evidence(f"{name}: {step.evaluation[name]:.4g}") for name in names if name in step.evaluation)


RULE = Rule(
    slug="transfer-without-gain",
    family="tasks",
    title="Pretrained weights do not help",
    level=Level.WARNING,
    log=absent("a log holds no probe of the frozen features to compare with"),
    source=absent("what weights know of the user's images is in no line of code"),
    before=absent("features have to be computed on the images: the run does it when it begins"),
    during=DuringFacet(_start),
    module=__name__,
)
