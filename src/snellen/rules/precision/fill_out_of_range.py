"""A mask is filled with a constant that float16 cannot hold.

What happens
------------
Nothing, as long as everything is float32. Under `torch.autocast` or after `.half()` the line raises
`value cannot be converted to type at::Half without overflow`, or, where the constant is multiplied in
(`(1 - mask) * -1e9`), it becomes -inf and a fully masked row becomes NaN.

Why
---
-1e9 and friends are habits of float32. float16 ends at 65504, and which precision a line runs in is decided far
away, by the training script. Nobody sees the line when mixed precision is switched on.

How to confirm
--------------
`torch.zeros(1, dtype=torch.float16).masked_fill(torch.tensor([True]), -1e9)` raises the error on any machine, CPU
included.

Fix
---
`torch.finfo(x.dtype).min`, where `x` is the tensor that is filled. It follows the tensor's precision.
`float("-inf")` fits every floating dtype, too, but a row that is masked as a whole then becomes NaN in a softmax.

When it is something else
-------------------------
A tensor that is surely float32 (`x.float().masked_fill(...)`, `dtype=torch.float32`) or an integer one may hold
such numbers; the rule leaves the ones it can recognise alone. Mute the others with `# snellen:
ignore[fill-out-of-range]`.

Sources
-------
- `torch.finfo`: https://docs.pytorch.org/docs/stable/type_info.html
- `Tensor.masked_fill_`: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.masked_fill_.html
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.finding import Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


def _examine(file: SourceFile) -> Iterator[Hit]:
    yield from ()


RULE = Rule(
    slug="fill-out-of-range",
    family="precision",
    title="A mask is filled with a number outside float16",
    level=Level.WARNING,
    log=absent("what it leads to is a rule of its own: half-overflow"),
    source=SourceFacet(("masked_fill", "torch.where", "full_like", "mask"), _examine),
    before=absent("the constant stands in code that a plan does not see"),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
