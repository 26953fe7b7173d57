"""What a training checkpoint holds: weights, their average, the optimiser, the loss scale and the position.

Random states are not part of it: random numbers are a function of the position (see `snellen.engine.seeding`), and so
are the learning rate and the order of samples.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from snellen.engine.ema import WeightAverage
from snellen.engine.position import Position
from snellen.engine.sampling import SamplePlan
from snellen.engine.store import CheckpointStore, Kind, Stored
from snellen.errors import RunFolderError, WeightsError
from snellen.models.weights.loading import load_into, read_state_dict

if TYPE_CHECKING:
    # A check builds what is trained and trains nothing: Fabric stays out of its process.
    from snellen.engine.fabric import Precision

__all__ = ["Trained", "card_of", "load_weights", "read_card", "restore", "save_best", "save_last"]


@dataclass(frozen=True, slots=True)
class Trained:
    """The parts of a run that training changes.

    Args:
        module: The model itself, without Fabric's wrappers.
        optimiser: Of torch, without Fabric's wrapper.
        average: Moving average of the weights, if there is one.
        precision: Fabric's plugin, which holds the loss scale.
    """

    module: nn.Module
    optimiser: Optimizer
    average: WeightAverage | None
    precision: Precision

    @property
    def evaluated(self) -> nn.Module:
        """The model that is evaluated: the average where there is one."""
        return self.module if self.average is None else self.average.model


def save_last(store: CheckpointStore, trained: Trained, position: Position, plan: SamplePlan) -> Path:
    """Write everything that is needed to go on.

    Raises:
        RunFolderError: It cannot be written.
    """
    tensors, numbers = _split_optimiser(trained.optimiser)
    state = {
        "position": position.to_dict(),
        "plan": _identity(plan),
        "optimiser": numbers,
        "precision": trained.precision.state_dict(),
        "card": card_of(trained.module),
    }
    return store.write("last", {**_weights(trained), "optimiser": tensors}, state)


def save_best(store: CheckpointStore, trained: Trained, position: Position) -> Path:
    """Write the weights that did best, without what only training needs.

    Raises:
        RunFolderError: It cannot be written.
    """
    return store.write("best", _weights(trained), {"position": position.to_dict(), "card": card_of(trained.module)})


def card_of(module: nn.Module) -> dict[str, Any]:
    """What a model says of itself that its tensors do not: its attribute `card`, plain data, such as its classes.

    Example:
        >>> card_of(nn.Linear(2, 1))
        {}
    """
    return dict(getattr(module, "card", {}))


def read_card(source: str | Path, *, which: Kind = "best") -> Mapping[str, Any]:
    """The card of the model in a run's folder; empty when it has none.

    Args:
        source: A run's folder, or its `checkpoints`.
        which: `best`, or `last`.

    Raises:
        WeightsError: There is no checkpoint.
        RunFolderError: Every checkpoint of that kind is torn.
    """
    card: Mapping[str, Any] = _newest(Path(source), which).state.get("card", {})
    return card


def restore(stored: Stored, trained: Trained, plan: SamplePlan) -> Position:
    """Put a checkpoint back into the parts of a run.

    Raises:
        RunFolderError: The run was started with other data or another batch size, so its order of samples is lost.
        WeightsError: The model is another one.
    """
    former, now = stored.state["plan"], _identity(plan)
    changed = [f"{name} {former.get(name)} (now {value})" for name, value in now.items() if former.get(name) != value]
    if changed:
        raise RunFolderError(
            f"{stored.path} was written with {', '.join(changed)}; the same order of samples cannot be continued",
            hint="resume with the former value, or train again into a new folder",
        )
    former_card, card = stored.state.get("card", {}), card_of(trained.module)
    for name in former_card.keys() | card.keys():
        # As JSON: lists and tuples are the same there.
        before, after = (json.dumps(one.get(name), sort_keys=True) for one in (former_card, card))
        if before != after:
            raise RunFolderError(
                f"{stored.path} was written by a model of {name} {_short(before)}, now it is {_short(after)}",
                hint="resume with the data and the settings that the run was started with, or train into a new folder",
            )
    weights = stored.tensors("model")
    _load(trained.module, weights, stored)
    if trained.average is not None:
        _load(trained.average.model, stored.tensors("ema") or weights, stored)
    _load_optimiser(trained.optimiser, stored)
    trained.precision.load_state_dict(stored.state["precision"])
    return Position.from_dict(stored.state["position"])


def load_weights(
    module: nn.Module, source: str | Path, *, which: Kind = "best", prefer_ema: bool = True
) -> tuple[str, ...]:
    """Load the trained weights of a run's folder, or of a weights file.

    Args:
        module: Is changed in place.
        source: A run's folder, its `checkpoints`, or a `.safetensors` file.
        which: `best`, or `last`; a run that was never evaluated has only the last.
        prefer_ema: Take the moving average of the weights when the run kept one.

    Returns:
        What is wrong with newer checkpoints that are torn; the one before them was loaded.

    Raises:
        WeightsError: There are none, the file is truncated or unsafe, or they are of another model.
        RunFolderError: Every checkpoint of that kind is torn.
    """
    path = Path(source)
    if not path.is_dir():
        load_into(module, read_state_dict(path), source=str(path))
        return ()
    stored = _newest(path, which)
    weights = (prefer_ema and stored.tensors("ema")) or stored.tensors("model")
    _load(module, weights, stored)
    return stored.torn


def _newest(path: Path, which: Kind) -> Stored:
    store = CheckpointStore(path if path.name == "checkpoints" else path / "checkpoints")
    stored = store.newest(which)
    if stored is None:
        other: Kind = "last" if which == "best" else "best"
        hint = f"take {other!r} instead" if store.newest(other) is not None else "train it first"
        raise WeightsError(f"{path} holds no {which!r} checkpoint", hint=hint, slug="missing-checkpoint")
    return stored


def _short(text: str, limit: int = 120) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def _load(module: nn.Module, weights: dict[str, Tensor], stored: Stored) -> None:
    report = load_into(module, weights, source=str(stored.path))
    if report.unexpected:
        raise WeightsError(
            f"{stored.path} does not fit {type(module).__name__}: it also has {', '.join(report.unexpected[:5])}",
            hint="choose the model that the run was started with",
            slug="state-dict-mismatch",
        )


def _weights(trained: Trained) -> dict[str, dict[str, Tensor]]:
    weights = {"model": trained.module.state_dict()}
    return weights if trained.average is None else {**weights, "ema": trained.average.model.state_dict()}


def _identity(plan: SamplePlan) -> dict[str, int]:
    return {
        "samples": plan.samples,
        "batch_size": plan.batch_size,
        "accumulate": plan.accumulate,
        "seed": plan.seed,
        "devices": plan.ranks,
    }


def _split_optimiser(optimiser: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimiser's state as tensors by name and as plain data; its settings are not part of it."""
    state = optimiser.state_dict()["state"]
    values = {f"{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    return tensors, {name: value for name, value in values.items() if name not in tensors}


def _load_optimiser(optimiser: Optimizer, stored: Stored) -> None:
    state: dict[int, dict[str, Any]] = {}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for name, value in {**stored.tensors("optimiser"), **stored.state["optimiser"]}.items():
        index, key = int(name.partition(".")[0]), name.partition(".")[2]
        # Of 8 bits, the scales of blocks and their map are kept beside each tensor.
        free = not isinstance(value, Tensor) or value.ndim == 0 or key.startswith(("absmax", "qmap"))
        if index >= len(parameters) or not (free or value.shape == parameters[index].shape):
            raise WeightsError(
                f"optimiser state {name} of {stored.path} fits no parameter of this model",
                hint="resume with the model and the optimiser that the run was started with",
            )
        state.setdefault(index, {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
