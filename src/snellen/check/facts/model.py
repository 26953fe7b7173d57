"""The facts `networks`, `flow` and `last_batch`: the run's images, sent through its networks without weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from snellen.check.facts.weights import network_key
from snellen.config.load import parse_section
from snellen.config.schema import OptimConfig
from snellen.core.facts.data import FolderAudit
from snellen.core.facts.model import BatchFacts, FlowFacts, NetworkFacts
from snellen.core.passes import stopped_by
from snellen.core.plan import FactUnavailable, NotApplicable, Plan
from snellen.errors import ConfigError

if TYPE_CHECKING:
    from snellen.trace.table import Traced

__all__ = ["provide_batches", "provide_flow", "provide_last_batch", "provide_networks"]

_MULTIPLES = (2, 4, 8, 14, 16, 28, 32, 56, 64, 112, 128, 224)
_LARGEST_SIDE = 8192
_NO_PADDING_HELPS = {
    *("batchnorm-single-value", "linear-shape", "channel-mismatch", "view-stride", "dtype-mismatch", "device-mismatch"),
}


def provide_networks(plan: Plan) -> tuple[NetworkFacts, ...]:
    """The fact `networks` of a run whose task does not tell: the network that the settings name."""
    key, name = network_key(plan)
    from snellen.models.backbones.named import named_model  # noqa: PLC0415 - timm takes seconds

    model: Mapping[str, Any] = plan.settings.get("model") or {}
    options = {} if ":" in name and "." in name else _options(model)
    named = named_model(name, **options)
    size = named.input_size
    stated = (size[1], size[2]) if size is not None and len(size) == 3 else None
    channels = options.get("in_chans", size[0] if size else 3)
    build = named.build if not named.name.startswith("timm:") else _of_any_size(name, options)
    return (NetworkFacts(named.name, key, build, channels, (), stated, named.takes_list),)


def _of_any_size(name: str, options: Mapping[str, Any]) -> Callable[[], Any]:
    """A network of timm, made for images of any size where its family can be: so the tasks build it, too."""
    from snellen.models.backbones.named import named_model  # noqa: PLC0415

    def build() -> Any:
        for variant in ({"dynamic_img_size": True}, {"strict_img_size": False}):
            try:
                return named_model(name, **options, **variant).build()
            except TypeError:
                continue
        return named_model(name, **options).build()

    return build


def _options(model: Mapping[str, Any]) -> dict[str, Any]:
    classes = model.get("num_classes")
    return {"num_classes": classes} if isinstance(classes, int) and not isinstance(classes, bool) else {}


def provide_flow(plan: Plan) -> tuple[FlowFacts, ...]:
    """The fact `flow`: each network given the smallest, the largest and the most oblong images of the run."""
    networks: Sequence[NetworkFacts] = plan.fact("networks")
    optim = plan.settings.get("optim") or {}
    batch = optim.get("batch_size", 2) if isinstance(optim, Mapping) else 2
    batch = min(8, batch) if isinstance(batch, int) and batch > 0 else 2
    found: list[FlowFacts] = []
    for network in networks:
        sizes = list(network.sizes or _sizes(plan))
        if not sizes:
            raise NotApplicable("neither the settings nor the data tell how large images are")
        found += [_flow(network, max(2, batch), *size) for size in sizes]
        found += _on_another_device(plan, network, sizes[0])
        last = _last_batch_or_none(plan)
        if last == 1:
            height, width, why = sizes[0]
            left = f"{why}, in the last batch of an epoch, which holds one image"
            found.append(_flow(network, 1, height, width, left))
    return tuple(found)


def _on_another_device(plan: Plan, network: NetworkFacts, size: tuple[int, int, str]) -> Iterator[FlowFacts]:
    """Tensors that the network makes on the CPU while it stands on a GPU; a GPU need not be there to see it."""
    try:
        accelerator = plan.fact("machine").accelerator
    except NotApplicable:
        return
    if accelerator != "cuda":
        return
    height, width, why = size
    facts = _flow(network, 2, height, width, f"{why}, on a GPU", device="cuda")
    if "same device" in facts.problem:
        yield facts


def _sizes(plan: Plan) -> Iterator[tuple[int, int, str]]:
    """Sizes that images arrive with, each once, and why."""
    data = plan.settings.get("data")
    data = data if isinstance(data, Mapping) else {}
    side, padded = data.get("image_size"), data.get("pad_multiple", 1)
    multiple = padded if isinstance(padded, int) and not isinstance(padded, bool) and padded > 0 else 1
    if padded == "auto" and "pad_multiple" in data:
        raise NotApplicable("images are padded to what the networks take: data.pad_multiple is auto")
    sides = (side, side) if isinstance(side, int) and not isinstance(side, bool) else side
    if isinstance(sides, (tuple, list)) and len(sides) == 2 and all(isinstance(one, int) and one > 0 for one in sides):
        yield _up(sides[0], multiple), _up(sides[1], multiple), "data.image_size"
        return
    seen: set[tuple[int, int]] = set()
    for what, record_size, path in _extremes(plan.fact("audit")):
        size = (_up(record_size[0], multiple), _up(record_size[1], multiple))
        if size not in seen and max(size) <= _LARGEST_SIDE:
            seen.add(size)
            yield *size, f"the {what} image, {path}"


def _up(side: int, multiple: int) -> int:
    return math.ceil(side / multiple) * multiple


def _extremes(folders: Sequence[FolderAudit]) -> Iterator[tuple[str, tuple[int, int], str]]:
    records = [record for folder in folders for record in folder.images.values() if record.height and record.width]
    if not records:
        return
    area = {record.path: record.height * record.width for record in records}
    small, large = min(records, key=lambda one: area[one.path]), max(records, key=lambda one: area[one.path])
    oblong = max(records, key=lambda one: max(one.height, one.width) / min(one.height, one.width))
    for what, record in (("smallest", small), ("largest", large), ("most oblong", oblong)):
        yield what, record.upright_size, record.path


def _flow(network: NetworkFacts, batch: int, height: int, width: int, why: str, *, device: str = "cpu") -> FlowFacts:
    traced = _trace(network, batch, height, width, device=device)
    facts = FlowFacts(network.part, network.key, batch, height, width, why)
    if not traced.problem or traced.problem.startswith("what follows depends on values"):
        return facts
    where = traced.failed_in
    facts = replace(
        facts,
        problem=traced.problem,
        module=where.name if where is not None else "",
        kind=where.kind if where is not None else "",
        given=where.inputs if where is not None else (),
    )
    if device != "cpu" or stopped_by(facts) in _NO_PADDING_HELPS:
        return facts
    return _with_a_size_that_fits(facts, network)


def _with_a_size_that_fits(facts: FlowFacts, network: NetworkFacts) -> FlowFacts:
    """The smallest padding that would do, found by trying."""
    for multiple in _MULTIPLES:
        size = _up(facts.height, multiple), _up(facts.width, multiple)
        if size == (facts.height, facts.width) or max(size) > _LARGEST_SIDE:
            continue
        if not _trace(network, facts.batch, *size).problem:
            # Of a network for one size only, that size is a multiple of something, too.
            only = bool(_trace(network, facts.batch, 2 * size[0], 2 * size[1]).problem)
            return replace(facts, fits=size, multiple=None if only else multiple)
    stated = network.named_size
    if stated is None or stated == (facts.height, facts.width):
        return facts
    return facts if _trace(network, facts.batch, *stated).problem else replace(facts, fits=stated)


def _trace(network: NetworkFacts, batch: int, height: int, width: int, *, device: str = "cpu") -> Traced:
    from snellen.trace.fake import build_without_weights  # noqa: PLC0415 - torch takes seconds
    from snellen.trace.table import trace  # noqa: PLC0415

    image = (network.channels, height, width)
    given: list[Any] = [[image] * batch] if network.takes_list else [(batch, *image)]
    return trace(build_without_weights(network.build), given, train=not network.takes_list, device=device)


def provide_last_batch(plan: Plan) -> int:
    """The fact `last_batch`: images in the smallest batch of an epoch of training, as the engine deals them out."""
    batches: BatchFacts = plan.fact("batches")
    folders: Sequence[FolderAudit] = plan.fact("audit")
    train = next((folder for folder in folders if folder.key == "data.train"), None)
    if train is None or not train.samples:
        raise FactUnavailable("the run names no training images")
    samples = len(train.samples)
    left = samples % batches.step
    if not left:
        return batches.size
    rounds = -(-left // (batches.size * batches.devices))
    return max(1, left // (rounds * batches.devices))


def provide_batches(plan: Plan, section: type[OptimConfig] = OptimConfig) -> BatchFacts:
    """The fact `batches`.

    Args:
        plan: The run.
        section: Holds the defaults of the task.

    Raises:
        FactUnavailable: The section has problems of its own.
    """
    try:
        optim = parse_section(section, plan.settings.get("optim") or {})
    except ConfigError as error:
        raise FactUnavailable("the optim section of the run file has problems of its own") from error
    devices = plan.settings.get("devices")
    count = devices if isinstance(devices, int) and not isinstance(devices, bool) and devices > 0 else 1
    return BatchFacts(optim.batch_size, optim.accumulate, count)


def _last_batch_or_none(plan: Plan) -> int | None:
    try:
        last: int = plan.fact("last_batch")
    except NotApplicable:
        return None
    return last
