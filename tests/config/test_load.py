"""Run files: every problem at once, with its place, and nothing ever run."""

from __future__ import annotations

import pytest

from snellen.config.load import load, load_data, problems, read_task
from snellen.config.schema import RunConfig
from snellen.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def found(path, *overrides):
    return [
        (finding.location.line, finding.location.key, finding.slug, finding.message)
        for finding in load(path, RunConfig, overrides=overrides).problems
    ]


def test_numbers_are_numbers(tmp_path):
    path = write(tmp_path, "task: x\noptim: {lr: 1e-4, weight_decay: 0, epochs: 0x10, batch_size: 1_000}\n")
    optim = load(path, RunConfig).require().optim
    assert (optim.lr, optim.weight_decay, optim.epochs, optim.batch_size) == (1e-4, 0.0, 16, 1000)


def test_all_problems_come_in_one_report_in_the_order_of_the_file(tmp_path):
    path = write(
        tmp_path,
        "task: x\noptim:\n  lr: '1e-4'\n  epochs: 2.5\n  batchsize: 4\n  clip_norm: -1\nepoch: 3\nseed: true\n",
    )
    assert [entry[:3] for entry in found(path)] == [
        (3, "optim.lr", "config-type"),
        (4, "optim.epochs", "config-type"),
        (5, "optim.batchsize", "config-unknown-key"),
        (6, "optim.clip_norm", "config-type"),
        (7, "epoch", "config-unknown-key"),
        (8, "seed", "config-type"),
    ]
    with pytest.raises(ConfigError, match=r"6 problems[\s\S]*run.yaml:3:7 \(optim.lr\)[\s\S]*--fix"):
        load(path, RunConfig).require()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optim: {lr: '1e-4'}", "optim.lr is '1e-4' (text), expected a number above 0"),
        ("optim: {lr: 0}", "optim.lr is 0, expected a number above 0"),
        ("optim: {lr: .inf}", "optim.lr is inf, expected a number above 0"),
        ("optim: {lr: .nan}", "optim.lr is nan, expected a number above 0"),
        ("optim: {epochs: 5.0}", "optim.epochs is 5.0, expected a whole number of at least 1"),
        ("optim: {ema_decay: 1.0}", "optim.ema_decay is 1.0, expected a number above 0 and below 1 or null"),
        ("track: {tensorboard: yes}", "track.tensorboard is 'yes' (text), expected true or false"),
        ("data: {workers: -1}", "data.workers is -1, expected a whole number of at least 0 or auto"),
        ("data: {image_size: [3]}", "data.image_size is the list [3], expected"),
        ("data: {train: ''}", "data.train is empty, expected a path"),
        ("data: 3", "data is 3, expected the keys train, val"),
        ("precision: fp8", "precision is 'fp8' (text), expected one of auto, fp32, fp16, bf16"),
        ("code: [3]", "code[0] is 3, expected a path"),
        ("data: {cache: 0}", "data.cache is 0, expected auto or false or the keys size, ahead"),
        ("model: {depth: 3}", "model.depth is not a key that this run knows; model takes no keys"),
        ("lr: 3", "lr is not a key that this run knows; there is optim.lr"),
        ("data: {validation: x}", "data.validation is not a key that this run knows; the nearest is val"),
        ("seed: 1\nseed: 2", "seed is given twice: it stands on line 2 already"),
        ("name: 2024-01-01\nseed: x", "seed is 'x' (text)"),
        ("machine: kaggle-t5", "machine is 'kaggle-t5' (text), expected one of auto, kaggle-t4"),
        ("name: !!python/object/apply:os.system [id]", "name has the tag !!python/object/apply:os.system"),
        ("name: !secret x", "name has the tag !secret"),
        ("? [a, b]\n: 1", "a key is a list"),
        ('name: "\\ud800"', "lone surrogate"),
        ("1: x", "1 is not a key"),
    ],
)
def test_each_mistake_is_said_with_what_was_found_and_expected(tmp_path, line, message):
    entries = found(write(tmp_path, f"task: x\n{line}\n"))
    assert len(entries) == 1
    assert message in entries[0][3]


def test_a_value_below_a_name_of_ones_own_is_described(tmp_path):
    from snellen.tasks.probe.config import ProbeRun

    text = "task: probe\nheads:\n  a: {gamma: -1, class_weights: {x: .nan, y: -1}}\n  b: {class_weights: even}\n"
    problems = load(write(tmp_path, text), ProbeRun).problems
    assert [finding.message for finding in problems] == [
        "heads.a.gamma is -1, expected a number of at least 0",
        "heads.a.class_weights.x is nan, expected a number above 0",
        "heads.a.class_weights.y is -1, expected a number above 0",
        "heads.b.class_weights is 'even' (text), expected balanced or names, each with a number above 0 or null",
    ]
    problems = load(write(tmp_path, "task: probe\nheads: {a/b: {}}\n"), ProbeRun).problems
    assert problems[0].message.startswith("heads.a/b: a head's name has letters")


def test_a_missing_key_is_named():
    loaded = load_data({}, RunConfig)
    assert [finding.message for finding in loaded.problems] == ["task is missing, expected text"]


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("optim: {lr: '1e-4'}", (("optim.lr", 1e-4),)),
        ("optim: {epochs: 5.0}", (("optim.epochs", 5),)),
        ("optim: {max_steps: 'none'}", (("optim.max_steps", None),)),
        ("track: {tensorboard: 'off'}", (("track.tensorboard", False),)),
        ("precision: half", (("precision", "fp16"),)),
        ("code: src", (("code", ["src"]),)),
    ],
)
def test_what_can_be_computed_is_offered_as_a_safe_setting(tmp_path, line, settings):
    fix = load(write(tmp_path, f"task: x\n{line}\n"), RunConfig).problems[0].fix
    assert fix.settings == settings
    assert fix.safety == "safe"


def test_a_guess_is_not_called_safe(tmp_path):
    path = write(tmp_path, "task: x\nmachine: kaggle-t5\noptim: {lr: high}\n")
    machine, rate = load(path, RunConfig).problems
    assert (machine.fix.safety, machine.fix.settings) == ("unsafe", (("machine", "kaggle-t4"),))
    assert rate.fix is None


def test_a_misspelt_key_is_renamed_where_it_stands(tmp_path):
    path = write(tmp_path, "task: x\noptim:\n  learning_rate: 1e-3  # fast\n")
    edit = load(path, RunConfig).problems[0].fix.edits[0]
    assert (edit.start_line, edit.start_column, edit.end_column, edit.replacement) == (3, 2, 15, "lr")


def test_overrides_win_and_are_judged_the_same_way(tmp_path):
    path = write(tmp_path, "task: x\noptim: {epochs: 3}\n")
    loaded = load(path, RunConfig, overrides=["optim.epochs=1", "optim.lr=1e-3", "code=[a, b]"])
    assert (loaded.require().optim.epochs, loaded.require().optim.lr, len(loaded.require().code)) == (1, 1e-3, 2)
    wrong = load(path, RunConfig, overrides=["optim.lr='1'", "optim.epoch=2"]).problems
    assert {finding.location.path for finding in wrong} == {"command line"}
    assert all(not (finding.fix and finding.fix.applicable) for finding in wrong)
    for bad in ("optim.lr", "=3", "optim.epochs.more=1", "name={a: 1", "name=a\nseed: 3"):
        with pytest.raises(ConfigError):
            load(path, RunConfig, overrides=[bad]).require()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "run.yaml:1:6: not valid YAML"),
        ("- a\n", "holds a list"),
        ("just words\n", "holds a single value"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("task: x\n\tname: y\n", "spaces"),
        ("a: *nowhere\n", "not valid YAML"),
        ("a: &a [*a]\n", "holds more than 40 levels"),
        ("[" * 5000, "nested too deeply|not valid YAML"),
        ("x: \0\n", "is binary"),
    ],
)
def test_what_is_no_run_file_is_one_clear_error(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        load(write(tmp_path, text), RunConfig)


def test_aliases_cannot_blow_up_memory(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="more than 20000 values"):
        load(write(tmp_path, "\n".join(lines)), RunConfig)


def test_size_encoding_and_absence_are_said(tmp_path):
    with pytest.raises(ConfigError, match="larger than 256 KiB"):
        load(write(tmp_path, "#" * 300_000), RunConfig)
    with pytest.raises(ConfigError, match=r"cannot read[\s\S]*run.yaml"):
        load(tmp_path / "ruin.yaml", RunConfig)
    (tmp_path / "latin.yaml").write_bytes("task: x\nname: caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin.yaml:2 is not UTF-8"):
        load(tmp_path / "latin.yaml", RunConfig)
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path, RunConfig)


def test_merge_keys_and_anchors_work(tmp_path):
    text = "task: x\noptim: &o\n  lr: 1e-3\n  epochs: 2\nname: &n ab\n"
    assert load(write(tmp_path, text), RunConfig).require().optim.lr == 1e-3
    text = "task: x\ndata: &d {train: a, val: b}\nmodel: {<<: *d}\n"
    assert {entry[1] for entry in found(write(tmp_path, text))} == {"model.train", "model.val"}


def test_the_task_is_read_before_anything_is_judged(tmp_path):
    assert read_task(write(tmp_path, "task: forgery\nwrong: 1\n")) == "forgery"
    for text in ("wrong: 1\n", "task: 3\n", "task: ''\n", ""):
        with pytest.raises(ConfigError, match="expected the name of a task"):
            read_task(write(tmp_path, text))


def test_problems_lists_what_load_lists(tmp_path):
    path = write(tmp_path, "task: x\nseed: y\n")
    assert problems(path, RunConfig) == list(load(path, RunConfig).problems)
