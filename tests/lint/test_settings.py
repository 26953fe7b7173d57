"""Values of YAML files, their places, and what PyYAML would make of them."""

from __future__ import annotations

import math

import pytest

from snellen.core.source import UNKNOWN
from snellen.lint.settings import SettingsError, settings_of


@pytest.mark.parametrize(
    ("written", "value", "value11"),
    [
        ("1e-4", 1e-4, "1e-4"), ("1.0e-4", 1e-4, 1e-4), ("1.0e4", 1e4, "1.0e4"), ("1.0e+4", 1e4, 1e4),
        ("3", 3, 3), ("-7", -7, -7), ("0x1F", "0x1F", 31), ("010", 10, 8), ("1_000", "1_000", 1000),
        ("yes", "yes", True), ("off", "off", False), ("true", True, True), ("null", None, None), ("~", None, None),
        (".inf", math.inf, math.inf), ("-.INF", -math.inf, -math.inf), ("'1e-4'", "1e-4", "1e-4"),
        ("a b", "a b", "a b"),
        ("9" * 60, UNKNOWN, UNKNOWN),
    ],
)  # fmt: skip
def test_both_versions_of_yaml(written: str, value: object, value11: object) -> None:
    (setting,) = settings_of(f"lr: {written}\n")
    assert (setting.value, setting.yaml11, setting.code) == (value, value11, written)
    assert setting.key == "lr"


def test_the_readings_agree_with_the_parsers_themselves() -> None:
    yaml = pytest.importorskip("yaml")
    for written in (
        "1e-4",
        "1.0e-4",
        "1.e+3",
        "0o17",
        "017",
        "0b11",
        "yes",
        "N",
        "off",
        "1_0.5",
        ".5",
        "-.5",
        "+1",
        "nan",
    ):
        (setting,) = settings_of(f"a: {written}")
        assert setting.yaml11 == yaml.safe_load(f"a: {written}")["a"], written


def test_key_paths_and_places() -> None:
    text = "optim: {lr: 0.1}\ndata:\n  mean: [0.5, 0.25]\n  parts:\n    - name: a\n"
    found = {setting.key: setting for setting in settings_of(text)}
    assert list(found) == ["optim.lr", "data.mean", "data.mean.0", "data.mean.1", "data.parts.0.name"]
    assert found["data.mean"].value == (0.5, 0.25)
    span = found["data.mean.1"].span
    assert text.split("\n")[span.start_line - 1][span.start_column : span.end_column] == "0.25"


def test_an_alias_is_not_followed_and_a_bomb_is_small() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 25))
    assert len(settings_of(f"a0: &a0 [x, y]\n{levels}\n")) == 3
    assert settings_of("a: &a [*a]\n") == ()


@pytest.mark.parametrize("text", ["a: [1\nb: 2", "a: b: c", "\t- x", "{{ cookiecutter }}: &"])
def test_what_is_no_yaml_is_said_with_its_line(text: str) -> None:
    with pytest.raises(SettingsError, match="not YAML") as caught:
        settings_of(text)
    assert caught.value.line is not None


def test_a_file_too_large_is_not_read() -> None:
    with pytest.raises(SettingsError, match="larger than 1 MiB"):
        settings_of("a: 1\n" * 300_000)
