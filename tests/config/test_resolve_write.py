"""`auto` becomes a value with a reason; settings survive being written; comments survive being changed."""

from __future__ import annotations

import pytest

from snellen.config.load import load
from snellen.config.machines import Machine
from snellen.config.resolve import resolve, target_machine
from snellen.config.schema import RunConfig
from snellen.config.write import apply_settings, save
from snellen.errors import ConfigError

HERE = Machine("here", "cpu", 1, 8.0, bf16=False, cpus=2)
PAD = {"data.pad_multiple": lambda config, machine: (14, "patch 14")}


def run(**values):
    return RunConfig.model_validate_json(RunConfig(task="x").model_copy(update=values).model_dump_json())


@pytest.mark.parametrize(
    ("machine", "precision"), [("auto", "fp32"), ("kaggle-t4", "fp16"), ("kaggle-p100", "fp16"), ("h200", "bf16")]
)
def test_precision_follows_the_machine_that_is_meant(machine, precision):
    resolved = resolve(run(), target_machine(run(machine=machine), HERE), root=".", resolvers=PAD)
    assert resolved.config.precision == precision
    assert {entry.key for entry in resolved.table} >= {"precision", "devices", "data.workers", "data.pad_multiple"}
    assert all(entry.why for entry in resolved.table)


def test_what_is_given_stays_and_paths_become_absolute(tmp_path):
    config = RunConfig.model_validate_json(
        '{"task": "x", "precision": "bf16", "data": {"train": "a", "val": "/b", "workers": 0}, "code": ["c"]}'
    )
    resolved = resolve(config, HERE, root=tmp_path, resolvers=PAD).config
    assert resolved.precision == "bf16"
    assert resolved.data.workers == 0
    assert (resolved.data.train, str(resolved.data.val)) == (tmp_path / "a", "/b")
    assert resolved.code == (tmp_path / "c",)
    assert resolved.output == tmp_path / "runs"
    assert resolved.data.test is None


def test_an_auto_that_nobody_can_settle_is_an_error():
    with pytest.raises(ConfigError, match="pad_multiple is auto"):
        resolve(run(), HERE, root=".")


def test_a_resolved_run_loads_equal_and_resolves_to_itself(tmp_path):
    config = resolve(run(seed=7, name="null"), HERE, root=tmp_path, resolvers=PAD).config
    config = config.model_copy(update={"optim": config.optim.model_copy(update={"lr": 1e-05, "weight_decay": 1e22})})
    save(config, tmp_path / "run.yaml")
    again = load(tmp_path / "run.yaml", RunConfig).require()
    assert again == config
    assert resolve(again, HERE, root="/elsewhere").config == config


TEXT = """\
# my run
task: x          # the task
optim:
    lr: "1e-4"   # from the paper
    epochs: 3
data: {train: Train, val: val}   # folders
code:
    -   src
"""


def test_a_changed_value_leaves_every_other_byte(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(TEXT)
    apply_settings(path, [("optim.lr", 1e-4), ("data.train", "train"), ("code[0]", "my code")])
    expected = TEXT.replace('"1e-4"', "0.0001").replace("Train", "train").replace("-   src", '-   "my code"')
    assert path.read_text() == expected


def test_a_new_key_keeps_the_comments(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(TEXT)
    apply_settings(path, [("data.pad_multiple", 224), ("track.tensorboard", False), ("optim.max_steps", None)])
    text = path.read_text()
    for comment in ("# my run", "# the task", "# from the paper", "# folders"):
        assert comment in text
    data = load(path, RunConfig).data
    assert data["data"] == {"train": "Train", "val": "val", "pad_multiple": 224}
    assert data["track"] == {"tensorboard": False}
    assert data["optim"]["max_steps"] is None


@pytest.mark.parametrize(
    "text", ["a: &x 1\nb: *x\n", "a: &x 1\nb: [*x]\n", "b:\na: 1\n", "b: |\n  text\n  more\na: 1\n"]
)
def test_aliases_block_text_and_empty_values_are_changed_without_harm(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    apply_settings(path, [("b", 5)])
    assert load(path, RunConfig).data == {"a": 1, "b": 5}


def test_what_cannot_be_set_is_refused_and_the_file_stays(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("seed: 1\nseed: 2\ncode: [a]\n")
    for settings in ([("seed.more", 1)], [("code[4]", "x")], [("new", 1)]):
        with pytest.raises(ConfigError, match="cannot"):
            apply_settings(path, settings)
    assert path.read_text() == "seed: 1\nseed: 2\ncode: [a]\n"
