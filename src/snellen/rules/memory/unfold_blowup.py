"""A feature map is unfolded into overlapping patches only to be reduced again.

What happens
------------
`F.unfold` of a small feature map asks for gigabytes: patches of 12 x 12 from 384 channels of 64 x 64 positions,
batch 8, are 4.63 GiB in float32, and a normalised copy doubles it. `CUDA out of memory. Tried to allocate 4.63
GiB`.

Why
---
`unfold` copies every value once for each patch that it lies in: `kernel² / stride²` times. What follows is often a
mean over the patch, which is a pooling, or a product of all patches with all others, which is a sum of shifted
products. Both have the same numbers without the copy.

How to confirm
--------------
The size is `B * C * kernel² * positions * bytes`. `torch.cuda.max_memory_allocated()` before and after the line
shows it.

Fix
---
A mean over the patch: `F.avg_pool2d(x, kernel, stride)`, the same values. A maximum: `F.max_pool2d`. Correlation of
patches: correlate positions first and sum along the diagonals, or go through the patches in blocks.

When it is something else
-------------------------
Out of memory on another line than the unfold. Unfolding a single image with large strides, where nothing overlaps,
copies each value once and is harmless.

Sources
-------
- `torch.nn.functional.unfold`: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.unfold.html
- `torch.nn.Unfold`, the formula of its output: https://docs.pytorch.org/docs/stable/generated/torch.nn.Unfold.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from snellen.core.finding import Finding, Fix, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, Origin, SourceFile

__all__ = ["RULE"]


_OUT_OF_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory|OutOfMemory", re.IGNORECASE)
_AMOUNT = re.compile(r"allocate (?P<amount>[\d.]+ ?(?:[KMGT]i?B|bytes))", re.IGNORECASE)
_UNFOLDS = re.compile(r"\b(?:[Uu]nfold|im2col)\s*\(")


def _readable(amount: str) -> str:
    number, _, unit = amount.partition(" ")
    return f"{int(number) / 2**30:,.2f} GiB" if unit == "bytes" and number.isdigit() else amount


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        frame = next((f for f in error.frames if _UNFOLDS.search(f.code) or f.function == "unfold"), None)
        if frame is None or not _OUT_OF_MEMORY.search(error.text):
            continue
        amount = _AMOUNT.search(error.message)
        asked = f" asks for {_readable(amount['amount'])}" if amount else " asks for more memory than there is"
        cause = f"The unfold{asked}: it copies every value once for each patch that it lies in."
        fix = Fix(
            "If the patches are averaged, use `F.avg_pool2d` with the same kernel and stride: the same numbers without "
            "the copy. If they are compared with each other, go through them in blocks. A smaller batch only moves the "
            "limit."
        )
        return LogMatch(0.92, (error.evidence, frame.evidence), cause, fix)
    return None


_MAKERS = ("torch.nn.functional.unfold", "torch.nn.Unfold.forward")
_REDUCTIONS = frozenset({"mean", "sum", "amax", "amin", "max", "min", "var", "std", "median"})
_PRODUCTS = frozenset(
    {"operator.matmul", "torch.matmul", "torch.bmm", "torch.mm", "torch.einsum", ".matmul", ".bmm", ".mm"}
)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    seen: set[int] = set()
    for call in file.calls:
        given = ((argument, argument.origin) for argument in call.arguments)
        origins = [
            call.receiver_origin,
            *(origin if _is_unfold(origin) else _changed(file, call, a) for a, origin in given),
        ]
        unfolds = [origin for origin in origins if origin is not None and _is_unfold(origin)]
        if not unfolds or unfolds[0].call.span.start_line in seen or not _overlaps(unfolds[0].call):
            continue
        if call.method in _REDUCTIONS and unfolds[0] is (call.receiver_origin or origins[1]):
            if _used_otherwise(file, call):
                continue
            use = f"only to take the {call.method} of them" if call.method != "amax" else "only to take their maximum"
            advice = _pooling(unfolds[0], call.method)
        elif _all_with_all(file, call, unfolds):
            use = "to multiply all patches with all others"
            advice = "Correlate the positions first and sum along the diagonals, or go through the patches in blocks."
        else:
            continue
        seen.add(unfolds[0].call.span.start_line)
        yield Hit(f"unfolds {_copies(unfolds[0].call)}{use}", unfolds[0].call.span, Fix(advice))


_TURNS = re.compile(r"\.(?:transpose|permute|mT|mH|T|H)\b|\b(?:transpose|permute)\(")


def _all_with_all(file: SourceFile, call: CallSite, unfolds: list[Origin]) -> bool:
    """Whether a product compares every patch with every other; the other way round it is a small Gram matrix."""
    if call.name not in _PRODUCTS or len(unfolds) != 2 or unfolds[0].call.span != unfolds[1].call.span:
        return False
    if call.method == "einsum":
        return True
    receiver = [call.receiver] if call.name.startswith(".") and call.receiver else []
    factors = [*receiver, *(argument.code for argument in call.arguments)]
    names = [re.match(r"[A-Za-z_]\w*", factor) for factor in factors[:2]]
    before = [
        item.code
        for item in file.assignments
        if item.function == call.function
        and item.span.end <= call.span.start
        and names[0]
        and item.target == names[0][0]
    ]
    if len({name[0] for name in names if name}) != 1 or len(factors) < 2:
        return True
    turned = sum(len(_TURNS.findall(code)) for code in before)
    first, second = (len(_TURNS.findall(factor)) + turned for factor in factors[:2])
    return first % 2 == 1 and second % 2 == 0


def _is_unfold(origin: Origin | None) -> bool:
    return origin is not None and origin.name in _MAKERS


def _changed(file: SourceFile, call: CallSite, argument: Argument) -> Origin | None:
    """The unfold behind a factor of a product, when the patches were changed in place: centred, scaled."""
    if call.name not in _PRODUCTS:
        return None
    name = re.match(r"[A-Za-z_]\w*", argument.code)
    return next(
        (
            item.origin
            for item in file.assignments
            if name and item.target == name[0] and item.function == call.function and item.origin is not None
        ),
        None,
    )


def _used_otherwise(file: SourceFile, call: CallSite) -> bool:
    """Whether the patches are also used for something else than what is taken of them here."""
    block = file.function_around(call.span)
    name = call.receiver or (call.arguments[0].code if call.arguments else "")
    if block is None or not re.fullmatch(r"[A-Za-z_]\w*", name):
        return False
    uses = re.findall(rf"(?<![\w.]){name}\b(?!\s*=[^=])(?!\.(?:{_RESHAPED})\b)", block.code.replace(call.code, ""))
    return bool(uses)


_RESHAPED = "view|reshape|permute|transpose|contiguous|size|shape|unflatten|unsqueeze|squeeze|float|to|dtype|device"


def _parameters(call: CallSite) -> tuple[Argument | None, Argument | None]:
    """Kernel size and stride, as given to the function or to the module's constructor."""
    maker = call.receiver_origin.call if call.name == "torch.nn.Unfold.forward" and call.receiver_origin else call
    first = 0 if maker is not call else 1
    return maker.argument(first, "kernel_size"), maker.argument(first + 3, "stride")


def _side(argument: Argument | None, default: int) -> int | None:
    if argument is None:
        return default
    value = argument.value[0] if isinstance(argument.value, tuple) and argument.value else argument.value
    return value if isinstance(value, int) and value > 0 else None


def _overlaps(call: CallSite) -> bool:
    kernel, stride = (_side(argument, 1) for argument in _parameters(call))
    return kernel is None or stride is None or kernel > stride


def _copies(call: CallSite) -> str:
    kernel, stride = (_side(argument, 1) for argument in _parameters(call))
    if kernel is None or stride is None:
        return "overlapping patches "
    times = kernel * kernel / (stride * stride)
    return f"overlapping patches, each value copied about {times:.3g} times ({kernel}² / {stride}²), "


def _pooling(origin: Origin, method: str) -> str:
    kernel, stride = _parameters(origin.call)
    source = origin.call.arguments[0].code if origin.call.arguments else "x"
    numbers = f"{kernel.code if kernel else 'kernel_size'}, stride={stride.code if stride else 1}"
    if method in ("max", "amax"):
        return (
            f"If the maximum is over the patch: `F.max_pool2d({source}, {numbers})`, the same values without the copy."
        )
    times = " times the patch's area" if method == "sum" else ""
    return f"If it is over the patch: `F.avg_pool2d({source}, {numbers})`{times}, the same values without the copy."


_KERNEL = re.compile(r"nfold\((?:[^()]|\([^()]*\))*?(?:kernel_size\s*=\s*|,\s*)\(?(?P<kernel>\d+)")
_STRIDE = re.compile(r"stride\s*=\s*\(?(?P<stride>\d+)")
_GIB = 2**30


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    hits = [finding for finding in plan.fact("source_findings") if finding.slug == "unfold-blowup"]
    if not hits:
        return
    sizes, machine = plan.fact("unfold"), plan.fact("machine")
    for hit in hits:
        code = _code_at(hit.location)
        kernel, stride = _KERNEL.search(code), _STRIDE.search(code)
        if kernel is None:
            continue
        patch, step = int(kernel["kernel"]), int(stride["stride"]) if stride else 1
        needed = sizes.bytes_for(patch, step)
        limit = machine.memory_bytes
        if limit is None or needed < limit // 20:
            continue
        shape = f"{sizes.batch} x {sizes.channels} x {sizes.height} x {sizes.width}"
        yield Finding(
            "unfold-blowup",
            Level.ERROR if needed > limit // 2 else Level.WARNING,
            f"unfold of {shape} ({sizes.why}) with patch {patch} and stride {step} takes {needed / _GIB:.2f} GiB; "
            f"{machine.name} has {limit / _GIB:.1f} GiB",
            hit.location,
            fix=hit.fix,
        )


def _code_at(place: Location | None) -> str:
    if place is None or place.line is None:
        return ""
    try:
        lines = Path(place.path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return " ".join(lines[place.line - 1 : place.line + 3])


RULE = Rule(
    slug="unfold-blowup",
    family="memory",
    title="Memory runs out in an unfold that is not needed",
    level=Level.WARNING,
    log=LogFacet(("unfold", "im2col"), _examine_log),
    source=SourceFacet(("unfold", "Unfold"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("memory is settled by the first step, which the rehearsal takes"),
    module=__name__,
)
