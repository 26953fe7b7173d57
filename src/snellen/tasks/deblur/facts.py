"""What only the deblurring task can tell a check, and how it settles its own `auto` values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from snellen.check.facts.cache import asked_bytes, cache_facts
from snellen.config.machines import Machine
from snellen.config.resolve import Resolver
from snellen.core.facts.data import FolderAudit, Sample
from snellen.core.facts.spikes import SpikeStreams
from snellen.core.facts.weights import FitFacts
from snellen.core.plan import NotApplicable, Plan
from snellen.errors import DataError
from snellen.tasks.deblur.config import DeblurData, DeblurLoss, DeblurModel, SpikeConfig
from snellen.tasks.sections import section_of

__all__ = ["FACTS", "RESOLVERS"]


def _model(plan: Plan) -> DeblurModel:
    return section_of(plan, DeblurModel, "model")


def _contracts(plan: Plan) -> tuple[dict[str, Any], ...]:
    from snellen.models.contract import Contract  # noqa: PLC0415 - loads torch
    from snellen.tasks.deblur.model import LIGHT, architecture_of  # noqa: PLC0415 - as above

    model = _model(plan)
    multiple = 8 if model.name == LIGHT else architecture_of(model).side_multiple
    source = str(model.weights) if model.weights else "random"
    # Frames go in as they are: 0 to 1, neither mean nor deviation taken.
    contract = Contract(
        part=f"deblurring network {model.name}",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        side_multiple=multiple,
        weights=source,
    )
    return (contract.to_dict(),)


def _weights_fit(plan: Plan) -> tuple[FitFacts, ...]:
    """The flow network and the perceptual loss; the rest is trained from its start."""
    model = _model(plan)
    found = []
    if model.weights is not None or model.spynet is not None:
        found.append(_fit(plan, model))
    loss = section_of(plan, DeblurLoss, "loss")
    if loss.perceptual.weight > 0 and loss.perceptual.weights is not None:
        found.append(_perceptual(plan, loss))
    if not found:
        raise NotApplicable("no weights are named: the network is trained from a random start")
    return tuple(found)


def _fit(plan: Plan, model: DeblurModel) -> FitFacts:
    from snellen.models.weights.loading import compare_state, read_state_dict  # noqa: PLC0415 - loads torch
    from snellen.tasks.deblur.model import build_network  # noqa: PLC0415 - as above
    from snellen.trace.fake import build_without_weights  # noqa: PLC0415 - as above

    key, path = ("model.weights", model.weights) if model.weights is not None else ("model.spynet", model.spynet)
    bare = model.model_copy(update={"weights": None, "spynet": None})
    network = build_without_weights(lambda: build_network(bare))
    state = read_state_dict(plan.root / str(path))
    state = dict(state.get("params", state))
    if key == "model.spynet":
        network = network.spynet  # type: ignore[assignment]  # VRT has one
        state = {name.removeprefix("spynet."): one for name, one in state.items()}
    report = compare_state(network, state)
    optional = [name for name in report.missing if name.endswith(".relative_position_index") or "spikes." in name]
    missing = tuple(name for name in report.missing if name not in optional)
    total = report.loaded + len(missing) + len(report.mismatched)
    return FitFacts(f"network {model.name}", key, str(path), report.loaded, total, missing[:12])


def _perceptual(plan: Plan, loss: DeblurLoss) -> FitFacts:
    from snellen.tasks.deblur.loss import Perceptual  # noqa: PLC0415 - loads torch

    path = plan.root / str(loss.perceptual.weights)
    count = len(Perceptual(path).features.state_dict())
    return FitFacts("VGG-19 of the perceptual loss", "loss.perceptual.weights", str(path), count, count)


def _networks(_plan: Plan) -> Any:
    raise NotApplicable("the network takes clips, not single images; the rehearsal trains it")


def _cache(plan: Plan) -> Any:
    """Frames and their sharp partners by the sizes that the audit measured, and their voxel grids."""
    asked = asked_bytes(plan)
    audits: Sequence[FolderAudit] = plan.fact("audit")
    grids = _GridSizes(plan)
    sizes: list[int] = []
    folders = [audit for audit in audits if audit.key in ("data.train", "data.val")]
    for audit in folders:
        for sample in audit.samples:
            image = audit.images.get(sample.image)
            if image is not None and image.height and not image.problem and sample.partner is not None:
                sizes.append(6 * image.height * image.width + grids.bytes_of(sample, (image.height, image.width)))
    return cache_facts(plan, asked, sizes, [audit.key for audit in folders])


class _GridSizes:
    """Bytes of voxel grids, a byte for a count; of the files of one folder the first is looked at."""

    def __init__(self, plan: Plan) -> None:
        model, data = _model(plan), section_of(plan, DeblurData, "data")
        self.bins = model.bins if model.spikes != "none" else 0
        self.motion, self.hints = data.motion, data.spikes.hints()
        self._known: dict[tuple[Path, tuple[int, int]], int] = {}

    def bytes_of(self, sample: Sample, frame: tuple[int, int]) -> int:
        """Of the grid of a sample whose frame has this height and width; as large as that where nothing tells."""
        voxels = sample.voxels if self.motion in ("auto", "voxels") else None
        path = voxels or (sample.spikes if self.motion in ("auto", "spikes") else None)
        if not self.bins or path is None:
            return 0
        place = (Path(path).parent, frame)
        if place not in self._known:
            self._known[place] = self.bins * prod(self._sensor(path, frame, voxels is not None))
        return self._known[place]

    def _sensor(self, path: str, frame: tuple[int, int], is_grid: bool) -> tuple[int, ...]:
        from snellen.data.spikes.geometry import find_format  # noqa: PLC0415 - loads numpy
        from snellen.data.spikes.voxel_files import read_voxel_file  # noqa: PLC0415 - as above

        try:
            if is_grid:
                return read_voxel_file(path).shape[1:]
            return find_format(path, replace(self.hints, frames=frame)).size
        except DataError:
            # What is wrong with it is said by a rule of its own.
            return frame


def _spike_streams(plan: Plan) -> tuple[SpikeStreams, ...]:
    """The streams beside the frames, where the network is given any."""
    from snellen.data.spikes.auditing import audit_streams  # noqa: PLC0415 - loads numpy

    if _model(plan).spikes == "none":
        raise NotApplicable("the network takes no spikes")
    hints = section_of(plan, SpikeConfig, "data", "spikes").hints()
    found = []
    audits: Sequence[FolderAudit] = plan.fact("audit")
    for audit in audits:
        streams: dict[str, tuple[int, int] | None] = {}
        for sample in audit.samples:
            image = audit.images.get(sample.image)
            if sample.spikes is not None:
                known = image is not None and image.height and image.width
                streams[sample.spikes] = (image.height, image.width) if image is not None and known else None
        if streams:
            found.append(audit_streams(audit.key, streams, hints))
    if not found:
        raise NotApplicable("no data folder holds spike streams")
    return tuple(found)


FACTS: Mapping[str, Callable[[Plan], Any]] = {
    "contracts": _contracts,
    "weights_fit": _weights_fit,
    "networks": _networks,
    "cache": _cache,
    "spike_streams": _spike_streams,
}
"""Providers by the names of `snellen.core.facts`."""


def _motion(config: Any, _machine: Machine) -> tuple[str, str]:
    if config.model.spikes == "none":
        return "none", "model.spikes is none"
    from snellen.tasks.deblur.data import motion_of, samples_of  # noqa: PLC0415 - loads torch

    root = next((place for place in (config.data.train, config.data.val, config.data.test) if place is not None), None)
    found = motion_of(samples_of(root, config.data, key="data.train"))
    if found == "none":
        raise DataError(
            f"model.spikes is {config.model.spikes}, and {root} holds no spikes",
            hint="expected SEQUENCE/spike or SEQUENCE/spike_vox; or model.spikes: none",
        )
    return found, f"most frames of {root} have {found} beside them"


def _voxel_scale(config: Any, machine: Machine) -> tuple[float, str]:
    if config.model.spikes == "none":
        return 1.0, "model.spikes is none"
    from snellen.tasks.deblur.data import largest_count  # noqa: PLC0415 - loads torch

    motion = config.data.motion if config.data.motion != "auto" else _motion(config, machine)[0]
    return largest_count(config, "voxels" if motion == "voxels" else "spikes")


def _checkpointing(config: Any, _machine: Machine) -> tuple[str, str]:
    return ("none" if config.preset == "fast" else "all"), f"preset {config.preset}"


def _compile(config: Any, machine: Machine) -> tuple[bool, str]:
    if machine.accelerator != "cuda":
        return False, "compiling pays on a GPU"
    return config.preset == "fast", f"preset {config.preset}"


def _optimiser(config: Any, machine: Machine) -> tuple[str, str]:
    if config.preset != "low-memory":
        return "adamw", f"preset {config.preset}"
    if machine.accelerator != "cuda":
        return "adamw", "preset low-memory, but the 8-bit optimiser runs on CUDA alone"
    return "adamw-8bit", "preset low-memory"


def _pad_multiple(_config: Any, _machine: Machine) -> tuple[int, str]:
    return 8, "the network halves both sides three times"


RESOLVERS: Mapping[str, Resolver] = {
    "data.pad_multiple": _pad_multiple,
    "data.motion": _motion,
    "data.voxel_scale": _voxel_scale,
    "model.checkpointing": _checkpointing,
    "model.compile": _compile,
    "optim.optimiser": _optimiser,
}
"""By key path."""
