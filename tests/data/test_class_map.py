"""Class maps: consecutive numbers for classes that have samples, and no number for any other."""

from __future__ import annotations

import json

import pytest

from snellen.data.class_map import ClassMap
from snellen.errors import DataError, RunFolderError

DECLARED = ("melanoma", "naevus", "wart", "scar")


def test_classes_without_samples_leave_no_gap() -> None:
    classes = ClassMap.of(["wart", "melanoma", "wart"], declared=DECLARED)
    assert (classes.names, classes.counts) == (("melanoma", "wart"), (1, 2))
    assert classes.absent == ("naevus", "scar")
    assert classes.numbers(["wart", None, "melanoma"]) == [1, -1, 0]
    assert ClassMap.from_dict(json.loads(json.dumps(classes.to_dict()))) == classes


def test_numbers_as_names_are_in_natural_order() -> None:
    assert ClassMap.of(["10", "9", "2"]).names == ("2", "9", "10")


@pytest.mark.parametrize("label", ["scar", "mole", "", "Wart"])
def test_a_label_without_a_number_is_an_error_and_never_class_0(label: str) -> None:
    classes = ClassMap.of(["wart", "melanoma"], declared=DECLARED)
    with pytest.raises(DataError, match="which the model has not learned"):
        classes.number(label)
    with pytest.raises(DataError, match=f"val: 2 samples of {label!r}"):
        classes.numbers(["wart", label, label], what="val")


@pytest.mark.parametrize(
    "damage", [{}, {"names": ["a", "a"], "counts": [1, 1], "absent": []}, {"names": ["a"], "counts": [], "absent": []}]
)
def test_a_damaged_map_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(RunFolderError, match="class map of the checkpoint is damaged"):
        ClassMap.from_dict(damage)
