"""A batch norm in training mode is given one value for each channel.

What happens
------------
`ValueError: Expected more than 1 value per channel when training, got input size torch.Size([1, 256, 1, 1])`, at the
very first step when the batch holds one sample, in the last step of an epoch when one sample is left over, or as
soon as a model is tried on a single image. Instance norms say `Expected more than 1 spatial element when training`.

Why
---
In training mode a batch norm subtracts the mean of the batch and divides by its deviation. One value has none. Maps
give many values for each sample, so it strikes where the map is 1 x 1: behind global pooling (the image pooling of
DeepLab's ASPP, squeeze-and-excitation) and in heads of linear layers.

How to confirm
--------------
`len(dataset) % batch_size` is 1, for each process of a distributed run; or the batch size itself is 1; or
`model.training` is true where a single image is predicted.

Fix
---
`DataLoader(..., drop_last=True)` for training. With a batch of one: more samples a step, `GroupNorm` or `LayerNorm`
in that layer, or its batch norm frozen with `layer.eval()`. For prediction and export: `model.eval()`.

When it is something else
-------------------------
A batch norm with another number of channels than the input says `running_mean should contain ...`:
`channel-mismatch`. A map that has become 0 x 0 is an image too small for the network.

Sources
-------
- `torch.nn.BatchNorm2d`: https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html
- `torch.utils.data.DataLoader`, `drop_last`: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
- Ioffe, Szegedy, Batch Normalization, ICML 2015: https://arxiv.org/abs/1502.03167
- Wu, He, Group Normalization, ECCV 2018: https://arxiv.org/abs/1803.08494
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from snellen.core.code.sizes import tensor_shape
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogLine, LogMatch
from snellen.core.logs.messages import Message, find_message, numbers
from snellen.core.passes import passes_stopped_by
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]

_MESSAGE = re.compile(
    r"expected more than 1 (?P<what>value per channel|spatial element) when training, got input size "
    r"(?:torch\.size\()?\[(?P<shape>[\d, ]+)\]",
    re.IGNORECASE,
)
_BATCH = re.compile(r"batch[_ -]?size['\"]?\s*[:=]?\s*(?P<size>\d{1,6})\b", re.IGNORECASE)
_COUNT = re.compile(
    r"(?<!\w)(?:train\w{0,9}|dataset)\W{0,3}"
    r"(?:set |data |samples |images |size |with |has )?\W{0,2}(?P<count>\d{2,9})\b"
    r"|\b(?P<count2>\d{2,9}) (?:train(?:ing)? )?(?:images|samples|examples)\b",
    re.IGNORECASE,
)
_PROGRESS = re.compile(r"(?<![\d/.])(?P<done>\d{1,7})/(?P<total>\d{1,7})(?![\d/])")
_PARALLEL = re.compile(r"data_parallel|parallel_apply|replica")
_PREDICTING = re.compile(
    r"predict|infer|detect|evaluat|\btest\b|\bdemo\b|onnx|export|summary|trace|\bflops?\b|profile", re.IGNORECASE
)
_TRAINING = re.compile(r"train|fit\b|backward|epoch", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    told = find_message(log, _MESSAGE)
    if told is None:
        return None
    shape = numbers(told.match["shape"])
    place = (
        f"{shape[0]} x {shape[1]}" + (f" x {' x '.join(map(str, shape[2:]))}" if shape[2:] else "")
        if len(shape) > 1
        else ""
    )
    seen = f"a norm in training mode was given {place} values: one for each channel"
    if told.match["what"].lower().startswith("spatial"):
        cause = f"An instance norm was given a map of one cell ({place})."
        fix = Fix(
            "Leave the instance norm away where the map is 1 x 1, or feed larger images; GroupNorm takes one cell."
        )
        return LogMatch(0.9, told.facts, cause, fix)
    remainder = _remainder(log, told)
    if remainder is not None:
        line, text = remainder
        fix = Fix("Give the training loader `drop_last=True`, or a batch size that leaves no single sample.")
        return LogMatch(0.97, (*told.facts, line.evidence), f"{text}; {seen}.", fix)
    if _predicts(told):
        fix = Fix("Call `model.eval()` before a single image is predicted, traced or exported.")
        return LogMatch(0.95, told.facts, f"A single image went through a model in training mode; {seen}.", fix)
    return LogMatch(0.97, told.facts, f"The batch held one sample; {seen}.", _fix(log, told))


def _fix(log: Log, told: Message) -> Fix:
    batch = next((int(found["size"]) for line in log.lines if (found := _BATCH.search(line.text))), None)
    other = "`GroupNorm` in that layer, or its batch norm in `eval()`"
    if batch == 1:
        return Fix(f"Train with at least 2 samples a step (the log says a batch size of 1); else {other}.")
    each = "; every GPU has to get 2 samples or more" if _PARALLEL.search(_paths(told)) else ""
    return Fix(
        f"If it comes at the end of an epoch give the training loader `drop_last=True`{each}. If the batch size is 1 "
        f"raise it, or put {other}. For a single image call `model.eval()` first."
    )


def _paths(told: Message) -> str:
    return " ".join(f"{frame.path} {frame.function}" for frame in told.error.frames) if told.error is not None else ""


def _predicts(told: Message) -> bool:
    """Whether the user's frames speak of prediction and none of training."""
    if told.error is None:
        return False
    own = " ".join(f"{f.path.rpartition('/')[2]} {f.function} {f.code}" for f in told.error.frames if not f.in_library)
    return bool(_PREDICTING.search(own)) and not _TRAINING.search(own)


def _remainder(log: Log, told: Message) -> tuple[LogLine, str] | None:
    """What shows that it was the rest of an epoch: progress at its end, or a count that leaves one sample."""
    number = told.error.start or told.error.line if told.error is not None else 0
    before = [line for line in log.lines if not number or line.number <= number]
    for line in reversed(before[-30:]):
        steps = list(_PROGRESS.finditer(line.text))
        if steps:
            done, total = int(steps[-1]["done"]), int(steps[-1]["total"])
            if total >= 8 and total - 1 <= done <= total:
                return line, f"Step {done} of {total} was the rest of an epoch, one sample"
            break
    batch = next((int(found["size"]) for line in before if (found := _BATCH.search(line.text))), None)
    if not batch or batch < 2:
        return None
    for line in before:
        found = _COUNT.search(line.text)
        count = int(found["count"] or found["count2"]) if found else 0
        if count > batch and count % batch == 1:
            return line, f"{count} samples in batches of {batch} leave one over"
    return None


_POOLED = re.compile(
    r"^torchvision\.models\.segmentation\.deeplabv3_\w+$|^segmentation_models_pytorch\.(?:DeepLabV3(?:Plus)?|PAN|PSPNet)$"
)
"""Models whose global pooling is followed by a batch norm."""


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    yield from _tried_on_one(file)
    holder = next((call for call in file.calls if _POOLED.match(call.name)), None) or _vector_norm(file)
    if holder is None or ".backward(" not in file.text:
        return
    for call in file.calls_to("torch.utils.data.DataLoader"):
        size, shuffled = call.argument(1, "batch_size"), call.argument(2, "shuffle")
        alone = size is None or size.value == 1
        if alone and shuffled is not None and shuffled.value is True:
            place = Location(file.path, holder.span.start_line, holder.span.start_column + 1)
            message = "training batches of one sample, and a batch norm that sees one value for each channel"
            fix = Fix("Take at least 2 samples a step, with `drop_last=True`, or a `GroupNorm` in that layer.")
            yield Hit(message, size.span if size is not None else call.span, fix, (Evidence(holder.code[:120], place),))


def _vector_norm(file: SourceFile) -> CallSite | None:
    """A batch norm behind a linear layer in an `nn.Sequential`."""
    for call in file.calls_to("torch.nn.Sequential"):
        layers = [argument.origin.call for argument in call.arguments if argument.origin is not None]
        for first, second in itertools.pairwise(layers):
            if (first.name, second.name) == ("torch.nn.Linear", "torch.nn.BatchNorm1d"):
                return second
    return None


def _tried_on_one(file: SourceFile) -> Iterator[Hit]:
    """`model(torch.randn(1, 3, 224, 224))` straight after such a model was made, in training mode."""
    if re.search(r"\.eval\(|\.train\(False|load_from|batchnorm", file.text, re.IGNORECASE):
        return
    for call in file.calls:
        origin = call.receiver_origin
        if origin is None or origin.through or not _POOLED.match(origin.name) or len(call.arguments) != 1:
            continue
        shape = tensor_shape(call.arguments[0].origin)
        if shape is not None and len(shape) == 4 and shape[0] == 1 and not call.name.startswith("."):
            model = origin.name.rpartition(".")[2]
            message = f"one image through `{model}` in training mode: its pooled features have one value per channel"
            name = call.receiver or call.code.partition("(")[0]
            fix = Fix(
                f"Write `{name}.eval()(...)`.",
                FixSafety.UNSAFE,
                "in evaluation mode dropout and batch norms compute something else",
                edits=(file.edit(call.span, call.code.replace(name, f"{name}.eval()", 1)),),
            )
            yield Hit(message, call.span, fix)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """The last batch of an epoch, or every batch, holds one image, and a norm sees one value for each channel."""
    optim = plan.settings.get("optim")
    size = optim.get("batch_size", 8) if isinstance(optim, Mapping) else 8
    for finding in passes_stopped_by("batchnorm-single-value", plan):
        text = "Write another optim.batch_size, so that more than one image is left over at the end of an epoch."
        if isinstance(size, int) and size > 1:
            fix = Fix(
                f"{text} {size + 1} instead of {size} is one.",
                FixSafety.UNSAFE,
                "another batch size changes training",
                settings=(("optim.batch_size", size + 1),),
            )
        else:
            fix = Fix("Put more than one image into a batch, or take a network that normalises by groups or layers.")
        yield replace(finding, fix=fix)


RULE = Rule(
    slug="batchnorm-single-value",
    family="shapes",
    title="A batch norm in training mode is given one value per channel",
    level=Level.ERROR,
    log=LogFacet(("expected more than 1",), _examine_log),
    source=SourceFacet(("DataLoader", "deeplabv3", "DeepLab", "PAN", "PSPNet"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the forward pass fails before the step is done"),
    module=__name__,
)
