"""The loss is NaN or infinite.

What happens
------------
The loss in the log turns `nan` or `inf`, or the trainer stops itself: `Loss is nan, stopping training`. From the
first optimiser step with a NaN gradient on, all weights are NaN and nothing that follows can be used.

Why
---
In order of frequency: the learning rate is too high for this model, batch size or precision (often after a warm-up
that is too short); float16 overflowed in the forward pass (attention logits, variances, squared errors: its largest
number is 65504); a division by zero, a `log(0)` or a `sqrt(0)` whose gradient is infinite; a batch without any
valid target, so that a mean over nothing is taken; labels or images that contain NaN; pretrained weights that were
not loaded where the recipe counts on them.

How to confirm
--------------
`torch.autograd.set_detect_anomaly(True)` names the operation whose gradient became NaN first. Check the inputs of
that very batch with `torch.isfinite(x).all()`. Run the batch again in float32: if it is finite there, it is an
overflow.

Fix
---
Find the first bad step, not the first one you noticed. Overflow: bfloat16, or float32 around the operation that
overflows. Learning rate: divide by three to ten, warm up longer, clip the gradient norm to 1. Mathematics: add an
epsilon inside `log`, `sqrt` and the denominator. Go back to a checkpoint from before the first NaN; later ones are
lost.

When it is something else
-------------------------
A validation metric that is `nan` because a class has no sample in the split, or a printed average over no batches,
says nothing about training. An `inf` gradient norm during the first steps of float16 training is the loss scaler
looking for its scale: it skips those steps. `value cannot be converted to type at::Half` is `half-overflow`.

Sources
-------
- Anomaly detection: https://docs.pytorch.org/docs/stable/autograd.html#anomaly-detection
- Micikevicius et al., Mixed Precision Training, ICLR 2018: https://arxiv.org/abs/1710.03740
- Pascanu et al., On the difficulty of training recurrent neural networks, ICML 2013 (gradient clipping):
  https://arxiv.org/abs/1211.5063
"""

from __future__ import annotations

from snellen.core.finding import Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, absent

__all__ = ["RULE"]


def _examine(log: Log) -> LogMatch | None:
    return None


RULE = Rule(
    slug="nan-loss",
    family="precision",
    title="The loss is NaN or infinite",
    level=Level.ERROR,
    log=LogFacet(("nan", "inf"), _examine),
    source=absent("which division or logarithm meets a zero depends on the data, not on the text"),
    before=absent("whether a run diverges cannot be told from its plan"),
    during=absent("filled by the guard"),
    module=__name__,
)
