"""What would make a run fit that only its task knows of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from snellen.check.facts.machine import machine_facts
from snellen.config.load import load_data
from snellen.config.resolve import with_setting
from snellen.core.facts.memory import HostMemoryFacts
from snellen.estimate.step import Workload, record
from snellen.tasks.catalogue import get
from snellen.tasks.changes import variants_of


def config_of(task: str, **sections: Any) -> Any:
    return load_data({"task": task, **sections}, get(task).schema(), root=Path()).require()


def test_smaller_tiles_of_a_forgery_network_take_less_and_are_named_with_their_price() -> None:
    model = {"detector": "net", "backbone": "resnet18", "max_stride": 8, "tile": 512}
    config, task = config_of("forgery", model=model, data={"image_size": None}), get("forgery")

    def workload(changed: Any) -> Workload:
        looked_at = task.inference(changed, (512, 512))
        assert looked_at is not None
        from snellen.tasks.forgery.model import build_network

        build = lambda: build_network(changed.model)  # noqa: E731
        return Workload(
            build=build, batch=lambda _: looked_at.make(), outputs=looked_at.call, full_outputs=True, cuda=False
        )

    (variant,) = variants_of(task, config, workload)
    ((key, side),) = variant.settings
    assert (key, side < 512, side % 8) == ("model.tile", True, 0)
    assert "not seen together" in variant.price
    assert record(variant.workload, "predict").peak < 0.8 * record(workload(config), "predict").peak


def test_smaller_parts_of_a_video_and_what_is_computed_again() -> None:
    config, task = config_of("deblur", model={"checkpointing": "none"}), get("deblur")
    keys = {variant.settings[0] for variant in variants_of(task, config, lambda _: Workload(build=list, batch=list))}
    assert ("model.tile.side", 128) in keys
    assert ("model.tile.frames", 6) in keys
    assert ("model.checkpointing", "all") in keys
    whole = config_of("deblur", model={"tile": {"side": 0, "frames": 0}})
    assert dict(task.smaller_parts(whole)) == {"model.tile.side": 256, "model.tile.frames": 12}
    least = config_of("deblur", model={"tile": {"side": 64, "frames": 4}})
    assert task.smaller_parts(least) == []


def test_tasks_that_look_at_images_as_in_training_have_no_parts() -> None:
    assert get("classify").smaller_parts(config_of("classify")) == ()
    with pytest.raises(KeyError):
        with_setting(config_of("classify"), "optim.nothing", 1)


@pytest.mark.parametrize(
    ("name", "gib"), [("kaggle-t4", 27), ("kaggle-t4x2", 27), ("kaggle-p100", 27), ("colab-t4", 12.7), ("l4", None)]
)
def test_main_memory_of_hosted_machines_is_known(name: str, gib: float | None) -> None:
    found = machine_facts(name).host_memory_bytes
    assert found is None if gib is None else found == pytest.approx(gib * 2**30, rel=0.01)
    if found is not None:
        facts = HostMemoryFacts(found, name, (2**30, 3 * 2**30), (2**29, 2**30), 2**20, 2**20, workers=4)
        assert facts.need(4)[1] < found


def test_memory_that_host_and_device_share_counts_once() -> None:
    machine = machine_facts("dgx-spark")
    assert machine.host_memory_bytes == machine.memory_bytes
