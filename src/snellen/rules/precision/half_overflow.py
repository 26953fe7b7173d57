"""A number that float16 cannot hold is written into a half-precision tensor.

What happens
------------
The forward pass stops with `RuntimeError: value cannot be converted to type at::Half without overflow` the first
time it runs under automatic mixed precision, although it ran in float32. Usually it is the constant of an attention
or similarity mask: `scores.masked_fill(mask, -1e9)`. Newer versions of PyTorch write `c10::Half`.

Why
---
float16 ends at 65504. Inside `torch.autocast` the results of matrix products and convolutions are float16, so a
constant such as -1e9, which stood for "minus infinity" in float32, no longer fits the tensor that it is written
into. PyTorch refuses to convert it. The same constant multiplied in instead of written in raises nothing: it
becomes -inf, and a row that is masked as a whole becomes NaN in the softmax.

How to confirm
--------------
Print the dtype of the tensor on the failing line: it is `torch.float16`. With `precision: fp32` or inside
`torch.autocast(device_type, enabled=False)` the error is gone.

Fix
---
Take the constant from the tensor: `scores.masked_fill(mask, torch.finfo(scores.dtype).min)`. It is right in
float16, bfloat16 and float32. bfloat16 has the range of float32 and hides the mistake where the hardware has it.

When it is something else
-------------------------
A loss that turns NaN or Inf without this message overflowed in arithmetic, not in a constant: see `nan-loss`. The
same message with `uint8_t` or `int` is an integer tensor that is given a number outside its range.

Sources
-------
- `torch.finfo`: https://docs.pytorch.org/docs/stable/type_info.html
- Automatic mixed precision, which operations run in float16: https://docs.pytorch.org/docs/stable/amp.html
- Micikevicius et al., Mixed Precision Training, ICLR 2018: https://arxiv.org/abs/1710.03740
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.facts.fills import FLOAT16_MAX, clamped_fill, oversized_fills
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"value cannot be converted to type (?:at::|c10::)?(Half|BFloat16) without overflow", re.IGNORECASE
)
_LARGEST = {"half": "65504", "bfloat16": "3.39e38"}
_CONSTANT = re.compile(
    r"float\((?:[^()]|\([^()]*\))+\)|-?(?<!\d)(?:\d+(?:\.\d*)?e\+?\d+|\d{5,}(?:\.\d*)?|\d+\s*\*\*\s*\d+)", re.IGNORECASE
)
_WRITTEN = re.compile(r"(?<![\w.])([A-Za-z_][\w.]*)\s*(?:\[[^=]*\]\s*=(?!=)|\.masked_fill_?\(|\.fill_\()")


def _examine(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        found = _MESSAGE.search(error.message)
        if found:
            frame = error.user_frame
            code = frame.code if frame else ""
            evidence = (error.evidence, *((frame.evidence,) if frame else ()))
            return LogMatch(0.98, evidence, _cause(found[1], code), _fix(code))
    line = log.search(_MESSAGE.pattern)
    if line is None:
        return None
    found = _MESSAGE.search(line.text)
    return LogMatch(0.95, (line.evidence,), _cause(found[1] if found else "half", ""), _fix(""))


def _cause(dtype: str, code: str) -> str:
    constant = _CONSTANT.search(code)
    what = f"`{constant[0]}`" if constant else "a constant"
    name = "float16" if dtype.lower() == "half" else "bfloat16"
    return f"{what} is written into a {name} tensor, whose numbers end at {_LARGEST[dtype.lower()]}."


def _fix(code: str) -> Fix:
    tensor = _WRITTEN.search(code)
    name = tensor[1] if tensor else "x"
    constant = _CONSTANT.search(code)
    instead = f"instead of `{constant[0]}`" if constant else f"where `{name}` is the tensor that is filled"
    end = "max" if constant and "-" not in constant[0] else "min"
    return Fix(f"Write `torch.finfo({name}.dtype).{end}` {instead}.")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    large = list(oversized_fills(plan.settings))
    if not large:
        raise NotApplicable("no setting is a mask or fill value beyond float16")
    if plan.fact("precision") != "fp16":
        raise NotApplicable(f"the run computes in {plan.fact('precision')}")
    for key, value in large:
        yield Finding(
            "half-overflow",
            Level.ERROR,
            f"{key} is {value:g}, and the run computes in float16, whose numbers end at {FLOAT16_MAX:.0f}",
            setting_place(plan, key),
            fix=clamped_fill(key, value, "the largest number that float16 holds masks as well"),
        )


RULE = Rule(
    slug="half-overflow",
    family="precision",
    title="A constant does not fit float16",
    level=Level.ERROR,
    log=LogFacet(("without overflow",), _examine),
    source=absent("its pattern in source is a rule of its own: fill-out-of-range"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
