"""The catalogue of tasks, and names for predictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.errors import UsageError
from snellen.tasks.catalogue import TASKS, get
from snellen.tasks.predict import unique_names


def test_the_catalogue_holds_what_it_should() -> None:
    assert list(TASKS) == ["forgery", "classify", "deblur", "embed", "probe", "caption", "fewshot"]


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean forgery"):
        get("forgerry")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_the_protocol(name: str) -> None:
    task = get(name)
    assert task.schema().model_fields["task"].default == name
    assert task.facts()
    assert task.resolvers()


def test_inputs_of_the_same_name_get_names_of_their_own() -> None:
    paths = [Path("a/1.png"), Path("b/1.png"), Path("a/2.png"), Path("a/2.jpg"), Path("a/3.png")]
    names = list(unique_names(paths).values())
    assert len(set(names)) == 5
    assert names[2:] == ["2.png", "2.jpg", "3"]
    assert names[0].startswith("1.png-")
    assert unique_names(paths) == unique_names(list(reversed(paths)))
