"""Labels of the splits with the class map of each head, and everything that is wrong with them at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snellen.core.facts.labels import LabelTrouble
from snellen.data.class_map import ClassMap
from snellen.errors import DataError
from snellen.tasks.probe.config import ProbeRun
from snellen.tasks.probe.data import LabelledImages, LabelsError, read_splits
from snellen.tasks.probe.loss import class_weights_of

__all__ = ["Labels", "label_troubles", "read_labels", "targets_of"]


@dataclass(frozen=True, slots=True)
class Labels:
    """What is to be learned.

    Args:
        splits: Images with their labels.
        classes: Class map of each head, by the training labels.
        weights: Of each head, one for each class; `None` when all count the same.
        notes: What a reader must know.
    """

    splits: Mapping[str, LabelledImages]
    classes: Mapping[str, ClassMap]
    weights: Mapping[str, tuple[float, ...] | None]
    notes: tuple[str, ...]


def read_labels(config: ProbeRun, splits: Sequence[str]) -> Labels:
    """The labels of a run.

    Args:
        config: The run.
        splits: `train` and others; those without a folder are passed over.

    Raises:
        LabelsError: All that is wrong with them, for every head.
    """
    parts, notes = read_splits(config, splits)
    if "train" not in parts:
        raise DataError("data.train is not set", hint="add data.train: FOLDER to the run file")
    problems: list[DataError] = []
    maps: dict[str, ClassMap] = {}
    weights: dict[str, tuple[float, ...] | None] = {}
    for name, head in config.heads.items():
        try:
            maps[name] = _class_map(config, name, parts["train"])
            weights[name] = class_weights_of(head, maps[name], name=name)
        except DataError as error:
            problems.append(error)
    for part in parts.values():
        for name, classes in maps.items():
            try:
                _numbers(part, name, classes)
            except DataError as error:
                problems.append(error)
            if all(label is None for label in part.labels[name]):
                notes.append(f"{part.key} has no label for head {name}: nothing is said there of how good it is")
    if problems:
        raise LabelsError(problems)
    return Labels(parts, maps, weights, tuple(notes))


def label_troubles(config: ProbeRun) -> tuple[LabelTrouble, ...]:
    """Everything that training refuses; else what an evaluation on `data.test` would refuse.

    Args:
        config: The run, with paths that can be opened from here.
    """
    for splits, trains in ((("train", "val"), True), (("train", "test"), False)):
        try:
            read_labels(config, splits)
        except LabelsError as error:
            return tuple(_trouble(config, one, trains=trains) for one in error.each)
        except DataError as error:
            return (_trouble(config, error, trains=trains),)
    return ()


def _trouble(config: ProbeRun, error: DataError, *, trains: bool) -> LabelTrouble:
    words = re.findall(r"\bdata\.(?:train|val|test|labels|image_column)\b|\bheads\.\w+", error.message)
    own = f"data.{'train' if trains else 'test'}" if config.data.labels is None else "data.labels"
    return LabelTrouble(max(words, default=own), error.message, error.hint or "", trains=trains)


def targets_of(part: LabelledImages, classes: Mapping[str, ClassMap]) -> npt.NDArray[np.int64]:
    """Numbers of classes, shape `(images, heads)`; -1 where a label is not known.

    Args:
        part: Images of one split.
        classes: Class map of each head.

    Raises:
        DataError: A label has no number: it is never taken for another class.
    """
    columns = [_numbers(part, name, one) for name, one in classes.items()]
    return np.array(columns, np.int64).reshape(len(classes), len(part.images)).T.copy()


def _numbers(part: LabelledImages, head: str, classes: ClassMap) -> list[int]:
    return classes.numbers(part.labels[head], what=f"{part.key}, head {head}")


def _class_map(config: ProbeRun, name: str, train: LabelledImages) -> ClassMap:
    declared = config.heads[name].classes
    if not declared and len(config.heads) == 1 and isinstance(config.data.classes, tuple):
        declared = config.data.classes
    labels = [label for label in train.labels[name] if label is not None]
    found = ClassMap.of(labels, declared=declared, what=f"data.train, head {name}")
    if len(found) < 2:
        raise DataError(
            f"head {name}: all {found.counts[0]} labelled training images are {found.names[0]!r}: there is nothing "
            "to tell apart",
            hint="add images of another class, or leave the head out",
            slug="class-without-samples",
        )
    return found
