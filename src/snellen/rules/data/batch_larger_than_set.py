"""One step takes more images than the training set holds.

What happens
------------
With `drop_last=True` an epoch has no step at all: the loss is never printed, or `total_loss / len(loader)` stops with
`ZeroDivisionError: division by zero`. Without it every epoch is one step over all images: a run of ten epochs is ten
steps, the learning rate that was meant for large batches is too high, and what is counted in steps (warm-up,
checkpoints) falls together.

Why
---
A batch size that was written for a large set, a run file that was tried on a few images first, or accumulation and
several devices, which multiply: 64 images, 4 micro-batches and 2 devices are 512 images a step.

How to confirm
--------------
Compare `batch_size * accumulate * devices` with `len(dataset)`; the number of steps of an epoch is `len(loader)`.

Fix
---
Take a batch that gives the epoch several steps, and the learning rate that belongs to it. If one step an epoch is
meant, as in a test that a network can learn ten images by heart, leave it and count in epochs.

When it is something else
-------------------------
A set that is smaller than it should be is `missing-file`, `stray-image` or `empty-dataset`. A last batch of one image
is `batchnorm-single-value`. Nothing is said of videos and support sets, whose samples are not single images, nor of
two images on each device, of which no smaller batch is made.

Sources
-------
- `torch.utils.data.DataLoader`, `drop_last`: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
- Goyal et al., Accurate, large minibatch SGD (learning rate in proportion to the batch): https://arxiv.org/abs/1706.02677
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from snellen.core.facts.data import FolderAudit
from snellen.core.facts.model import BatchFacts
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_OF_CLIPS = ("frames", "frame-pairs", "support-query")
_STEPS = 8
"""Steps of an epoch that the advised batch gives, about."""
_FAR = 2
"""From so many times the set on, the learning rate is wrong by that factor for those who scale it with the batch."""


def _examine(plan: Plan) -> Iterator[Finding]:
    batches: BatchFacts = plan.fact("batches")
    folders: Sequence[FolderAudit] = plan.fact("audit")
    train = next((folder for folder in folders if folder.key == "data.train"), None)
    if train is None or train.layout in _OF_CLIPS or not train.samples:
        raise NotApplicable("the run trains on no set of single images")
    broken = {record.path for record in train.images.values() if record.problem}
    sound = [sample for sample in train.samples if sample.image not in broken]
    count = sum(sample.label is not None for sample in sound) or len(sound)
    fix = _smaller(count, batches)
    if batches.step <= count or fix is None:
        return
    parts = [f"optim.batch_size is {batches.size}"]
    parts += [f"optim.accumulate {batches.accumulate}"] if batches.accumulate > 1 else []
    parts += [f"devices {batches.devices}"] if batches.devices > 1 else []
    said = " and ".join(parts) + (f": {batches.step} images a step" if len(parts) > 1 else "")
    yield Finding(
        "batch-larger-than-set",
        Level.WARNING if batches.step >= _FAR * count else Level.NOTE,
        f"{said}, and {train.key} holds {count} images: every epoch is one step over all of them",
        setting_place(plan, "optim.batch_size"),
        fix=fix,
    )


def _smaller(count: int, batches: BatchFacts) -> Fix | None:
    # A power of two, and at least two images, which a batch norm needs.
    fits = 1 << max(1, (count // (_STEPS * batches.devices)).bit_length() - 1)
    if fits * batches.devices >= count:
        return None
    settings: tuple[tuple[str, object], ...] = (("optim.batch_size", fits),)
    text = f"Write optim.batch_size: {fits}"
    if batches.accumulate > 1:
        settings += (("optim.accumulate", 1),)
        text += " and optim.accumulate: 1"
    steps = -(-count // (fits * batches.devices))
    reason = "results change with the size of a batch, and the learning rate belongs to it"
    return Fix(f"{text}, which gives {steps} steps an epoch.", FixSafety.UNSAFE, reason, settings=settings)


RULE = Rule(
    slug="batch-larger-than-set",
    family="data",
    title="A batch is larger than the training set",
    level=Level.WARNING,
    log=absent("the division by zero that follows is `empty-dataset`"),
    source=absent("only the folder tells how many images there are"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("a step sees its batch and not the set"),
    module=__name__,
)
