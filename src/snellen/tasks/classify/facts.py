"""What only the classification task can tell a check, and how it settles its own `auto` values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snellen.check.facts.cache import asked_bytes, cache_facts
from snellen.config.machines import Machine
from snellen.config.resolve import Resolver
from snellen.core.facts.data import FolderAudit
from snellen.core.facts.labels import LabelTrouble
from snellen.core.facts.model import NetworkFacts
from snellen.core.facts.weights import FitFacts
from snellen.core.files import read_json
from snellen.core.plan import NotApplicable, Plan
from snellen.core.sizes import parse_size
from snellen.data.layouts import read_layout
from snellen.data.opening import open_image
from snellen.errors import DataError, SnellenError
from snellen.tasks.classify.config import ClassifyData, ClassifyModel, ClassifyRun
from snellen.tasks.sections import section_of
from snellen.tasks.weights_fit import fit_facts

if TYPE_CHECKING:
    # torch and timm load in seconds: only a run with a network waits for them.
    from snellen.models.backbones.classifiers import Architecture

__all__ = ["FACTS", "RESOLVERS"]

_LOOKED_AT = 64
_SMALL = 64
"""Images of at most this side are shifted rather than cut, and networks keep more of their resolution."""
_LEAST_SIDE, _MOST_SIDE = 32, 224
_MANY_PASSES = 50
"""Measured on a part of CIFAR-10's training images: after 4 of 8 passes light variation is ahead by 4 points."""
_FEW, _SOME = 20, 200
"""Training images of the median class below which everything, or three quarters, stays frozen."""


def _model(plan: Plan) -> ClassifyModel:
    return section_of(plan, ClassifyModel, "model")


def _architecture(plan: Plan) -> Architecture:
    from snellen.models.backbones.classifiers import Architecture  # noqa: PLC0415 - see above

    model, data = _model(plan), plan.settings.get("data") or {}
    side, classes = data.get("image_size"), data.get("classes")
    pretrained = model.pretrained or model.weights is not None
    own = _card_beside(plan.root / model.weights if model.weights else None)
    if not isinstance(side, int):
        stated = own.get("side") or (_stated_side(model.name) if pretrained else None)
        side = int(stated) if stated else _usual_side(_listed(plan.root, data))[0]
    count = len(classes) if isinstance(classes, (list, tuple)) else len(_listed(plan.root, data)[1])
    stem = own["small_stem"] is True if own else not pretrained and side <= _SMALL
    stem = model.small_stem if isinstance(model.small_stem, bool) else stem
    return Architecture(model.name, max(2, count), side, stem, dict(model.options))


def _listed(root: Path, data: Mapping[str, Any]) -> tuple[list[str], Counter[str]]:
    """Images of the training split, and how many each class has; empty when it cannot be listed."""
    folder = data.get("train")
    if not isinstance(folder, (str, Path)):
        return [], Counter()
    try:
        listing = read_layout(root / folder, key="data.train", name=data.get("layout") or "auto")
    except SnellenError:
        return [], Counter()
    labels = Counter({name: 0 for name in listing.classes if name})
    labels.update(sample.label for sample in listing.samples if sample.label is not None)
    return [sample.image for sample in listing.samples], labels


def _stated_side(name: str) -> int:
    from snellen.models.backbones.classifiers import stated_config  # noqa: PLC0415 - see above

    size = stated_config(name).get("input_size") or (3, _MOST_SIDE, _MOST_SIDE)
    return int(max(size[1:]))


def _usual_side(listed: tuple[list[str], Counter[str]]) -> tuple[int, str]:
    """The shorter side in the middle of some images, as a multiple of 32."""
    images = listed[0]
    sides = []
    for path in images[:: max(1, len(images) // _LOOKED_AT)][:_LOOKED_AT]:
        try:
            with open_image(path) as opened:
                sides.append(min(opened.image.size))
        except (SnellenError, OSError):
            continue
    if not sides:
        return _MOST_SIDE, "no training image could be looked at"
    usual = sorted(sides)[len(sides) // 2]
    side = min(_MOST_SIDE, max(_LEAST_SIDE, -(-usual // 32) * 32))
    return side, f"the shorter side of {len(sides)} training images is {usual} pixels (median); a multiple of 32"


def _card_beside(weights: Path | None) -> Mapping[str, Any]:
    """What a checkpoint of this task says of its network, when the weights are one; empty for other files."""
    state = weights.parent / "state.json" if weights is not None else None
    try:
        card = read_json(state).get("card", {}) if state is not None and state.is_file() else {}
    except (SnellenError, OSError, ValueError, AttributeError):
        return {}
    architecture = card.get("architecture") if isinstance(card, Mapping) else None
    return architecture if isinstance(architecture, Mapping) else {}


def _contracts(plan: Plan) -> tuple[dict[str, Any], ...]:
    from snellen.models.backbones.classifiers import stated_config  # noqa: PLC0415 - see above
    from snellen.models.contract import Contract  # noqa: PLC0415 - see above

    architecture, model = _architecture(plan), _model(plan)
    config = stated_config(model.name)
    source = str(model.weights) if model.weights else str(config.get("hf_hub_id") or "timm")
    contract = Contract(
        part=f"classifier {model.name}",
        mean=tuple(config.get("mean") or (0.0,) * 3),
        std=tuple(config.get("std") or (1.0,) * 3),
        side_multiple=architecture.side,
        licence=config.get("license"),
        weights=source if model.pretrained or model.weights else "random",
    )
    return (contract.to_dict(),)


def _weights_fit(plan: Plan) -> tuple[FitFacts, ...]:
    model = _model(plan)
    part = f"classifier {model.name}"
    if model.weights is None and not model.pretrained:
        raise NotApplicable("model.pretrained is false on purpose: it is trained from a random start")
    if model.weights is None:
        return (FitFacts(part, "model.weights", "the hub", loaded=1, total=1),)
    from snellen.models.backbones.classifiers import classifier_fit  # noqa: PLC0415 - see above

    report = classifier_fit(_architecture(plan), plan.root / model.weights)
    return (fit_facts(part, str(model.weights), report, "model.name", model.name),)


def _networks(plan: Plan) -> tuple[NetworkFacts, ...]:
    architecture = _architecture(plan)

    def build() -> Any:
        from snellen.models.backbones.classifiers import build_classifier  # noqa: PLC0415 - see above

        return build_classifier(architecture)

    side, stated = architecture.side, _stated_side(architecture.name)
    why = f"data.image_size: images are brought to {side} x {side}"
    return (NetworkFacts(architecture.name, "model.name", build, 3, ((side, side, why),), (stated, stated)),)


def _label_troubles(plan: Plan) -> tuple[LabelTrouble, ...]:
    """Training images of no class, or of one."""
    from snellen.tasks.classify.data import class_map  # noqa: PLC0415 - see above

    data = section_of(plan, ClassifyData, "data")
    if data.train is None:
        raise NotApplicable("the run names no training images")
    try:
        class_map(data.model_copy(update={"train": plan.root / data.train}))
    except DataError as error:
        # The others are told by rules about folders and names.
        if error.slug == "labels-unusable":
            return (LabelTrouble("data.train", error.message, error.hint or ""),)
    return ()


def _cache(plan: Plan) -> Any:
    """Images at the size that they are cut from, and validation images as the network sees them."""
    asked = asked_bytes(plan)
    audits: Sequence[FolderAudit] = plan.fact("audit")
    side = _architecture(plan).side
    folders = [audit for audit in audits if audit.key in ("data.train", "data.val")]
    sizes = []
    for audit in folders:
        for sample in audit.samples:
            image = audit.images.get(sample.image)
            if image is not None and image.height and not image.problem and sample.label is not None:
                long = max(image.height, image.width) / min(image.height, image.width)
                sizes.append(round(3 * side * side * (long if audit.key == "data.train" else 1)))
    return cache_facts(plan, asked, sizes, [audit.key for audit in folders])


FACTS: Mapping[str, Callable[[Plan], Any]] = {
    "cache": _cache,
    "contracts": _contracts,
    "weights_fit": _weights_fit,
    "label_troubles": _label_troubles,
    "networks": _networks,
}
"""Providers by the names of `snellen.core.facts`."""


def _pretrained(config: ClassifyRun) -> bool:
    return config.model.pretrained or config.model.weights is not None


def _data(config: ClassifyRun) -> tuple[list[str], Counter[str]]:
    data = config.data
    return _listed(Path(), {"train": data.train, "layout": data.layout})


def _side_of(config: ClassifyRun) -> tuple[int, str]:
    given = config.data.image_size
    if isinstance(given, int):
        return given, "as given"
    own = _card_beside(config.model.weights)
    if own:
        return int(own["side"]), "what the run was trained on whose weights these are"
    if _pretrained(config):
        return _stated_side(config.model.name), f"what timm states for {config.model.name}"
    return _usual_side(_data(config))


def _freeze(config: Any, _machine: Machine) -> tuple[str, str]:
    if not _pretrained(config):
        return "none", "it starts at random: there is nothing to keep"
    counts = sorted(count for count in _data(config)[1].values() if count)
    if not counts:
        return "none", "there are no training images to decide by"
    usual = counts[len(counts) // 2]
    said = f"{sum(counts)} training images, {usual} in the median class"
    if usual < _FEW:
        return "all", f"{said}: under {_FEW}, so few teach the classifier alone, anything deeper learns them by heart"
    if usual < _SOME:
        return "part", f"{said}: under {_SOME}, enough for the last quarter of the layers"
    return "none", f"{said}: at least {_SOME}, enough for all layers"


def _frozen(config: ClassifyRun, machine: Machine) -> str:
    return str(_freeze(config, machine)[0]) if config.model.freeze == "auto" else config.model.freeze


def _layer_decay(config: Any, machine: Machine) -> tuple[float, str]:
    if not _pretrained(config):
        return 1.0, "from a random start all layers have everything to learn"
    if _frozen(config, machine) == "all":
        return 1.0, "only the classifier learns"
    return 0.75, "deep layers keep what they know: the factor of BEiT and MAE"


def _small_stem(config: Any, _machine: Machine) -> tuple[bool, str]:
    own = _card_beside(config.model.weights)
    if own:
        return own["small_stem"] is True, "as in the run whose weights these are"
    if _pretrained(config):
        return False, "pretrained weights come with their own first layers"
    side = _side_of(config)[0]
    return side <= _SMALL, f"images of {side} pixels, {'at most' if side <= _SMALL else 'more than'} {_SMALL}"


def _lr(config: Any, machine: Machine) -> tuple[float, str]:
    batch = config.optim.batch_size * config.optim.accumulate
    if config.optim.optimiser == "sgd":
        rate = 0.1 if not _pretrained(config) else 0.01
        return round(rate * batch / 256, 6), f"{rate:g} for 256 images of a step, in proportion"
    if not _pretrained(config):
        from snellen.models.backbones.classifiers import is_transformer  # noqa: PLC0415 - see above

        if is_transformer(config.model.name):
            return 5e-4, "a transformer from a random start with Adam"
        return 4e-3, "a convolutional network from a random start with Adam"
    if _frozen(config, machine) == "all":
        return 2e-3, "only the classifier learns"
    return 3e-4, "pretrained layers learn with Adam, deeper ones more slowly"


def _preset(config: ClassifyRun) -> tuple[str, str]:
    if config.augment.preset != "auto":
        return config.augment.preset, f"augment.preset is {config.augment.preset}"
    if _pretrained(config) and config.model.freeze == "all":
        return "light", "only the classifier learns"
    if config.optim.epochs < _MANY_PASSES:
        return "light", f"{config.optim.epochs} passes: more variety pays from about {_MANY_PASSES} on"
    return "standard", f"{config.optim.epochs} passes: without more variety the images are learned by heart"


_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "none": {"crop": "none", "randaugment": 0, "mixup": 0.0, "cutmix": 0.0, "erase": 0.0, "smoothing": 0.0},
    "light": {"randaugment": 0, "mixup": 0.0, "cutmix": 0.0, "erase": 0.0, "smoothing": 0.0},
    "standard": {"randaugment": 5, "mixup": 0.0, "cutmix": 0.0, "erase": 0.0, "smoothing": 0.1},
    "deit": {"crop": "resized", "randaugment": 9, "mixup": 0.8, "cutmix": 1.0, "erase": 0.25, "smoothing": 0.1},
}
"""`deit` as in table 9 of Touvron et al., Training data-efficient image transformers, ICML 2021."""


def _of_preset(name: str) -> Resolver:
    def settle(config: Any, _machine: Machine) -> tuple[Any, str]:
        preset, why = _preset(config)
        return _PRESETS[preset][name], why

    return settle


def _chosen_preset(config: Any, _machine: Machine) -> tuple[str, str]:
    return _preset(config)


def _crop(config: Any, _machine: Machine) -> tuple[str, str]:
    preset, why = _preset(config)
    if "crop" in _PRESETS[preset]:
        return str(_PRESETS[preset]["crop"]), why
    side = _side_of(config)[0]
    return ("shift", f"images of {side} pixels") if side <= _SMALL else ("resized", f"images of {side} pixels")


def _image_size(config: Any, _machine: Machine) -> tuple[int, str]:
    return _side_of(config)


def _workers(config: Any, machine: Machine) -> tuple[int, str]:
    side, count = _side_of(config)[0], len(_data(config)[0])
    size = side * side * 3 * count
    if side <= _SMALL and config.data.cache is not False and size <= _room(config, machine):
        return 0, f"{count} images of {side} pixels are decoded once and kept in the cache: {size / 1e6:.0f} MB"
    cores = machine.cpus if machine.cpus is not None else 4
    return min(8, max(0, cores - 1)), f"{cores} cores, one kept for the training process, 8 at most"


def _room(config: ClassifyRun, machine: Machine) -> float:
    """Bytes that the cache may have, as far as the run file and the machine tell."""
    asked = getattr(config.data.cache, "size", None)
    memory = machine.host_gib or (machine.memory_gib if machine.accelerator == "cpu" else None) or 4.0
    # Half of what is free is never more than half of what there is; a part of it is in use.
    return parse_size(asked) if asked is not None else memory * 2**30 / 4


def _pad_multiple(_config: Any, _machine: Machine) -> tuple[int, str]:
    return 1, "images are brought to data.image_size"


RESOLVERS: Mapping[str, Resolver] = {
    "data.image_size": _image_size,
    "data.pad_multiple": _pad_multiple,
    "data.workers": _workers,
    "model.freeze": _freeze,
    "model.layer_decay": _layer_decay,
    "model.small_stem": _small_stem,
    "augment.preset": _chosen_preset,
    "augment.crop": _crop,
    **{f"augment.{name}": _of_preset(name) for name in ("randaugment", "mixup", "cutmix", "erase")},
    "loss.label_smoothing": _of_preset("smoothing"),
    "optim.lr": _lr,
}
"""By key path."""
