"""A mask is filled with a constant that float16 cannot hold.

What happens
------------
Nothing, as long as everything is float32. Under `torch.autocast` or after `.half()` the line raises
`value cannot be converted to type at::Half without overflow` (`masked_fill`, `full_like`, `new_full`), or the constant
silently becomes -inf and a fully masked row NaN (`torch.where`, assignment by index, `(1 - mask) * -1e9`).

Why
---
-1e9 and friends are habits of float32. float16 ends at 65504, and which precision a line runs in is decided far
away, by the training script. Nobody sees the line when mixed precision is switched on. Where nothing in the project
asks for float16 the finding is a note: nothing fails today.

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

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from snellen.core.code.half import float16_evidence
from snellen.core.facts.fills import FLOAT16_MAX, clamped_fill, oversized_fills
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, Assignment, CallSite, Hit, SourceFile

__all__ = ["RULE"]


_LARGEST = 65504.0
_INTEGER_ENDS = frozenset(sign * (2**bits - less) for sign in (-1, 1) for bits in (31, 32, 63) for less in (0, 1))
"""The ends of integer types, which fill integer tensors."""
_KEEPS_FLOAT32 = re.compile(r"\.(?:float|double)\(\)|torch\.(?:float32|float64|long|int\d*|float\b)|\.to\(float\)")
_MAKERS = frozenset(f"torch.{name}" for name in ("zeros", "ones", "full", "empty", "rand", "randn", "tensor", "arange"))
_SIMPLE = re.compile(r"^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$")
_SCORES = re.compile(r"^(?:\w+\.)*\w*(?:logit|score|attn|attention|sim|corr|dots|energy)\w*\[", re.IGNORECASE)
_ADDED = re.compile(
    r"mask[\w.\[\]:, ]{0,80}\){0,8}\s{0,9}\*\s{0,9}\(?\s{0,9}(?P<number>-?\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?)"
)


def _examine(file: SourceFile) -> Iterator[Hit]:
    hits = [*_fills(file), *_fill_settings(file)]
    if not hits:
        return
    asked = float16_evidence(file)
    for hit in hits:
        # Without float16 anywhere the number does no harm yet.
        yield replace(hit, evidence=(asked,)) if asked is not None else replace(hit, level=Level.NOTE)


def _fills(file: SourceFile) -> Iterator[Hit]:
    if re.search(r"autocast\([^)]{0,200}enabled\s{0,9}=\s{0,9}False", file.text):
        return
    for call in file.calls:
        for argument, tensor in _filled(call):
            if _outside(argument.value) and not _surely_float32(call, tensor):
                yield _hit(file, call, argument, tensor)
    if "torch" in file.imports.values():
        for assignment in file.assignments:
            yield from _written(assignment)


def _fill_settings(file: SourceFile) -> Iterator[Hit]:
    """A mask value in YAML."""
    for setting in file.settings:
        for _, value in oversized_fills({setting.key.rpartition(".")[2]: setting.value}):
            known = clamped_fill(setting.key, value, "the largest number that float16 holds masks as well")
            fix = replace(known, edits=(file.edit(setting.span, f"{known.settings[0][1]:.1f}"),), settings=())
            message = f"{setting.key} is {setting.code}, and float16 ends at 65504"
            yield Hit(message, setting.span, fix)


def _filled(call: CallSite) -> Iterator[tuple[Argument, str | None]]:
    """Constants that a call writes into a tensor, and the text of that tensor."""
    if call.method in ("masked_fill", "masked_fill_") and call.receiver is not None:
        value = call.argument(1, "value")
        if value is not None:
            yield value, call.receiver
    elif call.name == "torch.masked_fill":
        value, tensor = call.argument(2, "value"), call.argument(0, "input")
        if value is not None and tensor is not None:
            yield value, tensor.code
    elif call.name == "torch.where":
        first, second = call.argument(1, "input"), call.argument(2, "other")
        if first is not None and second is not None:
            yield first, second.code
            yield second, first.code
    elif call.name == "torch.full_like" or (call.method == "new_full" and call.receiver is not None):
        value, tensor = call.argument(1, "fill_value"), call.argument(0, "input")
        if value is not None:
            yield value, call.receiver or (tensor.code if tensor else None)
    elif call.name == "torch.full":
        value, dtype = call.argument(1, "fill_value"), call.argument(99, "dtype")
        if value is not None and dtype is not None and re.search(r"float16|half|\.dtype$", dtype.code):
            yield value, dtype.code.removesuffix(".dtype") if dtype.code.endswith(".dtype") else None


def _outside(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and value not in _INTEGER_ENDS
    return number and math.isfinite(value) and abs(value) > _LARGEST  # type: ignore[arg-type]


def _surely_float32(call: CallSite, tensor: str | None) -> bool:
    dtype, origin = call.argument(99, "dtype"), call.receiver_origin
    if _KEEPS_FLOAT32.search(tensor or "") or (dtype is not None and _KEEPS_FLOAT32.search(dtype.code)):
        return True
    if origin is None:
        return False
    if {"float", "double"} & set(origin.through) and "half" not in origin.through:
        return True
    made = origin.call.argument(99, "dtype")
    return origin.name in _MAKERS and (made is None or bool(_KEEPS_FLOAT32.search(made.code)))


def _hit(file: SourceFile, call: CallSite, argument: Argument, tensor: str | None) -> Hit:
    end = "min" if isinstance(argument.value, (int, float)) and argument.value < 0 else "max"
    message = f"`{argument.code}` does not fit float16, whose numbers end at 65504"
    torch = next((local for local, name in file.imports.items() if name == "torch"), None)
    if tensor is None or not _SIMPLE.match(tensor):
        return Hit(
            message, argument.span, Fix(f"Write `torch.finfo(x.dtype).{end}`, where x is the tensor that is filled.")
        )
    replacement = f"{torch or 'torch'}.finfo({tensor}.dtype).{end}"
    compared = re.search(rf"(?:[=!<>]=|[<>])\s*{re.escape(argument.code)}\b", file.text)
    safe = end == "min" and not compared and isinstance(argument.value, float)
    fix = Fix(
        f"Write `{replacement}`: the {'lowest' if end == 'min' else 'largest'} number of the precision of `{tensor}`.",
        safety=FixSafety.MANUAL if torch is None else FixSafety.SAFE if safe else FixSafety.UNSAFE,
        reason="it stands for minus infinity in every precision"
        if safe
        else "the number may be compared with elsewhere",
        edits=() if torch is None else (file.edit(argument.span, replacement),),
    )
    # Today's `where` makes -inf of it, older ones raise.
    return Hit(message, argument.span, fix, level=Level.WARNING if call.name == "torch.where" else None)


def _written(assignment: Assignment) -> Iterator[Hit]:
    """Constants written by index, and masks that are multiplied by one and added."""
    if _outside(assignment.value) and _SCORES.match(assignment.target):
        tensor = assignment.target.partition("[")[0]
        message = f"`{assignment.code}` is written into `{tensor}`; float16 ends at 65504"
        fix = Fix(f"Write `torch.finfo({tensor}.dtype).min`, or `.max` for a large positive number.")
        yield Hit(message, assignment.span, fix, level=Level.WARNING)
    added = _ADDED.search(assignment.code)
    if added and _outside(float(added["number"].replace("_", ""))) and not _KEEPS_FLOAT32.search(assignment.code):
        message = f"a mask times {added['number']} is infinite in float16, and a fully masked row NaN"
        fix = Fix("Use `masked_fill(mask, torch.finfo(x.dtype).min)`, or multiply by `torch.finfo(x.dtype).min`.")
        yield Hit(message, assignment.span, fix, level=Level.WARNING)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    if plan.settings.get("precision", "auto") != "auto":
        raise NotApplicable("the precision is settled: in float16 such a setting is half-overflow")
    if plan.fact("precision") == "fp16":
        raise NotApplicable("this run computes in float16, where such a setting is half-overflow")
    for key, value in oversized_fills(plan.settings):
        yield Finding(
            "fill-out-of-range",
            Level.WARNING,
            f"{key} is {value:g}: on a machine without bfloat16, `precision: auto` means float16, "
            f"whose numbers end at {FLOAT16_MAX:.0f}",
            setting_place(plan, key),
            fix=clamped_fill(key, value, "it masks as well in every precision"),
        )


RULE = Rule(
    slug="fill-out-of-range",
    family="precision",
    title="A mask is filled with a number outside float16",
    level=Level.ERROR,
    log=absent("what it leads to is a rule of its own: half-overflow"),
    source=SourceFacet(
        (
            *("masked_fill", "where(", "full_like", "new_full", "full(", "mask", "scores", "logits"),
            # What asks for float16 is looked for in the other files.
            *("autocast", "GradScaler", ".half()", "float16", "fp16", "precision"),
        ),
        _examine,
    ),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
