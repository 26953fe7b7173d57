"""A loss scaler is used with bfloat16, which needs none.

What happens
------------
Nothing bad, mostly: training runs as it would without the scaler, with a little more work and memory in each step. When
the scale has grown far enough, single steps are skipped. Where the parameters themselves are bfloat16, some versions
of PyTorch stop with `"_amp_foreach_non_finite_check_and_unscale_cuda" not implemented for 'BFloat16'`.

Why
---
Loss scaling keeps small gradients from becoming zero in float16, whose numbers end at 6e-8. bfloat16 has the exponent
of float32: it reaches down to 1e-38, and nothing is lost that scaling could save. What bfloat16 lacks is precision, and
scaling does not give it.

How to confirm
--------------
`print(scaler.get_scale())` during training: it doubles every 2000 steps and is hardly ever reduced.

Fix
---
Leave the scaler out, or make it with `enabled=False`, which turns `scale`, `unscale_`, `step` and `update` into what
they would be without one.

When it is something else
-------------------------
A script that chooses between float16 and bfloat16 at run time needs the scaler for float16: switch it with
`enabled=dtype == torch.float16`. The error message is `gradscaler-misuse`. float16 without a scaler is
`scaler-missing`.

Sources
-------
- Gradient scaling: https://docs.pytorch.org/docs/stable/amp.html#gradient-scaling
- Kalamkar et al., A Study of BFLOAT16 for Deep Learning Training, 2019: https://arxiv.org/abs/1905.12322
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.scaling import SCALERS, autocasts
from snellen.core.finding import Edit, Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile, Span

__all__ = ["RULE"]

_HALF = re.compile(r"(?i)float16(?<!bfloat16)|\bfp16\b|\.half\b")


def _examine(file: SourceFile) -> Iterator[Hit]:
    casts = list(autocasts(file))
    if not casts or any(cast.dtype != "bfloat16" for cast in casts) or _HALF.search(_code(file)):
        return
    for call in file.calls:
        enabled = call.argument(99, "enabled")
        if call.name not in SCALERS or (enabled is not None and enabled.value is not True):
            continue
        if call.target is None or not _scales(file, call.target):
            continue
        cast = casts[0].call
        place = Location(file.path, cast.span.start_line, cast.span.start_column + 1)
        message = "the loss is scaled, but computed in bfloat16, whose range is that of float32: scaling does nothing"
        yield Hit(message, call.span, _fix(file, call), (Evidence(cast.code, place),))


def _code(file: SourceFile) -> str:
    return "\n".join(line.partition("#")[0] for line in file.text.split("\n"))


def _scales(file: SourceFile, scaler: str) -> bool:
    return any(call.method == "scale" and call.receiver == scaler for call in file.calls)


def _fix(file: SourceFile, call: CallSite) -> Fix:
    enabled = call.argument(99, "enabled")
    if enabled is not None:
        edit: Edit = file.edit(enabled.span, "False")
    elif call.arguments:
        end = call.arguments[-1].span
        edit = file.edit(Span(end.end_line, end.end_column, end.end_line, end.end_column), ", enabled=False")
    else:
        end = call.span
        edit = file.edit(Span(end.end_line, end.end_column - 1, end.end_line, end.end_column - 1), "enabled=False")
    reason = "steps with gradients that are not finite are no longer skipped"
    return Fix("Make it with `enabled=False`, or leave it out.", FixSafety.UNSAFE, reason, (edit,))


RULE = Rule(
    slug="scaler-with-bfloat16",
    family="precision",
    title="The loss is scaled for bfloat16",
    level=Level.NOTE,
    log=absent("the message of some versions has other causes as well: gradscaler-misuse"),
    source=SourceFacet(("GradScaler",), _examine),
    before=absent("the engine scales the loss in float16 runs only"),
    during=absent("the engine scales the loss in float16 runs only"),
    module=__name__,
)
