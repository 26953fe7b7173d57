"""The output goes through a sigmoid before a loss that applies it once more.

What happens
------------
The loss starts near 0.69 and gets no lower than about 0.31 for positives and 0.69 for negatives, however long the
training. Masks come out grey, scores gather around a half, thresholds behave oddly.

Why
---
`nn.BCEWithLogitsLoss` expects logits and applies the sigmoid itself. A sigmoid gives numbers between 0 and 1; taken as
logits they mean probabilities between 0.5 and 0.73. The loss cannot say "no" any more, and its gradients are small.

How to confirm
--------------
`output.min()` and `output.max()` lie between 0 and 1 where the loss expects logits.

Fix
---
Return logits from the model and give them to the loss; apply `torch.sigmoid` where probabilities are thresholded or
shown. `nn.BCELoss` with a sigmoid is right as well, but loses precision and refuses autocast.

When it is something else
-------------------------
A loss that stays at 0.69 with small logits at the start of training is chance: see `stuck-at-chance`. Softmax
before a cross-entropy loss is `softmax-before-cross-entropy`. A mask that is all background: see
`single-class-prediction`.

Sources
-------
- `BCEWithLogitsLoss`: https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html
- `sigmoid_focal_loss`: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.sigmoid_focal_loss.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.code.networks import Ending, ending_of, fix_of_ending
from snellen.core.finding import Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, SourceFile

__all__ = ["RULE"]

_LOSSES = {
    "torch.nn.BCEWithLogitsLoss.forward": (0, "input"),
    "torch.nn.functional.binary_cross_entropy_with_logits": (0, "input"),
    "torch.nn.MultiLabelSoftMarginLoss.forward": (0, "input"),
    "torchvision.ops.sigmoid_focal_loss": (0, "inputs"),
    "torchvision.ops.focal_loss.sigmoid_focal_loss": (0, "inputs"),
    "segmentation_models_pytorch.losses.SoftBCEWithLogitsLoss.forward": (0, "y_pred"),
}


def _examine(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        if call.name not in _LOSSES:
            continue
        given = call.argument(*_LOSSES[call.name])
        ending = ending_of(file, given.origin) if given is not None else None
        if given is not None and ending is not None and ending.kind == "sigmoid":
            yield _hit(file, call, given, ending)


def _hit(file: SourceFile, call: CallSite, given: Argument, ending: Ending) -> Hit:
    loss = call.name.removesuffix(".forward").rpartition(".")[2]
    message = f"`{given.code}` has gone through a sigmoid, and `{loss}` applies it again: it expects logits"
    return Hit(message, given.span, fix_of_ending(file, call, given, ending), (ending.evidence,))


RULE = Rule(
    slug="sigmoid-before-bce-with-logits",
    family="tasks",
    title="A sigmoid is applied before a loss that applies it itself",
    level=Level.ERROR,
    log=absent("a loss between 0.31 and 0.69 is what many runs print that have not learned yet"),
    source=SourceFacet(("igmoid",), _examine),
    before=absent("the losses of the tasks get logits from the heads"),
    during=absent("a loss that stays between 0.31 and 0.69 has many causes"),
    module=__name__,
)
