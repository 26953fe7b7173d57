"""A vision transformer is trained from a random start on too few images.

What happens
------------
Training accuracy rises and validation accuracy stays far behind, or both stay low for hundreds of epochs. A small
convolutional network beats it with a tenth of the time.

Why
---
A transformer has to learn from data what a convolution has built in: that neighbouring pixels belong together, and that
an object is the same wherever it lies. The first ViT stayed behind ResNets when it was trained on the 1.3 million
images of ImageNet; DeiT needed heavy augmentation and 300 epochs to come level there.

How to confirm
--------------
Train a ResNet of a tenth of the weights on the same images for the same time. Compare training with validation
accuracy: a gap of 15 points and more is learning by heart.

Fix
---
Pretrained weights (`model.pretrained: true`), with layers frozen where images are few. From a random start a
convolutional network, or one with a convolutional stem; if it must be a plain transformer, the DeiT recipe
(`augment.preset: deit`) and hundreds of epochs.

When it is something else
-------------------------
A network that starts from pretrained weights is fine with few images. A gap between training and validation of a
convolutional network is overfitting of the ordinary kind: augmentation, weight decay, fewer epochs. Both at the level
of guessing is `stuck-at-chance`.

Sources
-------
- Dosovitskiy et al., An image is worth 16x16 words, ICLR 2021, section 4.3 (less than ImageNet's 1.3 million images is
  too few): https://arxiv.org/abs/2010.11929
- Touvron et al., Training data-efficient image transformers, ICML 2021: https://arxiv.org/abs/2012.12877
- Hassani et al., Escaping the big data paradigm with compact transformers, 2021 (sets of 50,000 images and fewer):
  https://arxiv.org/abs/2104.05704
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from snellen.core.audits import audited
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, DuringFacet, Rule, absent
from snellen.core.shares import wilson
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]

_FEW = 100_000
"""Twice the 50,000 images at which Hassani et al. show that plain transformers stay behind."""
_PLAIN = re.compile(r"(?:vit|deit3?|beit(?:v2)?|eva\d*|flexivit|cait)_")
"""Names of timm's plain transformers; Swin, CvT, LeViT and others have locality built in, in part."""


def _examine(plan: Plan) -> Iterator[Finding]:
    model = plan.settings.get("model")
    name = model.get("name") if isinstance(model, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(name, str) or not _PLAIN.match(name.removeprefix("timm:")):
        raise NotApplicable("model.name is no plain vision transformer")
    if model.get("pretrained", True) or model.get("weights") is not None:
        raise NotApplicable("the transformer starts from pretrained weights")
    train = next((folder for folder in audited(plan) if folder.split == "train"), None)
    if train is None:
        raise NotApplicable("the run names no training data")
    count = sum(sample.label is not None for sample in train.samples)
    if not 0 < count < _FEW:
        return
    yield Finding(
        "transformer-few-images",
        Level.WARNING,
        f"{name} starts at random and has {count:,} training images; plain vision transformers stay behind small "
        f"convolutional networks on fewer than {_FEW:,}",
        setting_place(plan, "model.name"),
        (Evidence(f"{train.key}: {count} labelled images", setting_place(plan, train.key)),),
        Fix(
            "Take pretrained weights, or a convolutional network such as model.name: resnet18.",
            FixSafety.UNSAFE,
            "the published weights have to be fetched, and change what is learned",
            settings=(("model.pretrained", True),),
        ),
    )


_SEEN, _GAP, _EPOCHS = 1000, 0.15, 5


def _start() -> Callable[[Step], Verdict | None]:
    hits: deque[tuple[float, int]] = deque()
    right, seen, told = 0.0, 0, False

    def observe(step: Step) -> Verdict | None:
        nonlocal right, seen, told
        accuracy = step.logs.get("accuracy")
        if told or accuracy is None or step.about.get("kind") != "transformer" or step.about.get("start") != "random":
            return None
        hits.append((accuracy * len(step.files), len(step.files)))
        right, seen = right + hits[-1][0], seen + hits[-1][1]
        while hits and seen - hits[0][1] >= _SEEN:
            gone = hits.popleft()
            right, seen = right - gone[0], seen - gone[1]
        validated, images = step.evaluation.get("accuracy"), step.evaluation.get("images")
        if seen < _SEEN or step.epoch < _EPOCHS or validated is None or images is None:
            return None
        low, high = wilson(right, seen)[0], wilson(validated * images, images)[1]
        if low - high < _GAP:
            return None
        told = True
        return Verdict(Action.CONTINUE, _by_heart(right / seen, low, validated, high, step))

    return observe


def _by_heart(training: float, low: float, validated: float, high: float, step: Step) -> Finding:
    name, count = step.about.get("model", "the transformer"), step.about.get("images", "these")
    message = (
        f"{name} learns its {count} training images by heart: accuracy {training:.3f} (95%: at least {low:.3f}) on "
        f"them, {validated:.3f} (at most {high:.3f}) in validation, after {step.epoch} epochs"
    )
    evidence = tuple(Evidence(f"validation {key}: {value:.4g}") for key, value in step.evaluation.items())[:8]
    fix = Fix("Start from pretrained weights, or take a convolutional network; else augment.preset: deit.")
    return Finding("transformer-few-images", Level.WARNING, message, evidence=evidence, fix=fix)


RULE = Rule(
    slug="transformer-few-images",
    family="tasks",
    title="A transformer starts at random on few images",
    level=Level.WARNING,
    log=absent("a log says neither how many images there are nor how weights began"),
    source=absent("the number of images is in no line of code"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=DuringFacet(_start),
    module=__name__,
)
