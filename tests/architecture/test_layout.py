"""Where things lie: one verb one file, one rule one file, the same names in every task, and nothing grown too long."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import get_args

import pytest

from snellen.core.rule import Family
from source_tree import PACKAGE, TESTS, Module, modules, rule_modules

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

TASK_FILES = {
    "__init__", "config", "data", "evaluate", "facts", "footprint", "loss", "metrics", "model", "page", "predict",
    "recipe",
}  # fmt: skip
"""Every task's files carry these names; a task has only those it needs."""

EXTRA_TASK_FILES = {
    "forgery": {
        "rle",  # run lengths of masks, as competition files hold them
        "submission",  # competition files
        "sweep",  # thresholds against metrics
        "validation",  # of competition files, row by row
    },
    "classify": {
        "transfer",  # what pretrained weights know before training
    },
    "deblur": {
        "inputs",  # videos of any kind, and the spikes beside them
    },
    "caption": {
        "memory",  # what a model holds, and whether it is gone
    },
    "probe": {
        "answers",  # what heads said, in memory and as rows
        "features",  # vectors of the frozen backbone, each computed once
        "labels",  # of the splits with their class maps, and all that is wrong with them at once
    },
    "fewshot": {
        "episodes",  # queries and the examples that they are compared with
        "gallery",  # the worst mistakes as pictures
        "grid",  # backbones, methods, shots, thresholds
        "recognise",  # queries against supports
        "records",  # tables and records on disk
        "sampling",  # episodes drawn from folders of classes
        "truth",  # the table of classes that people edit
    },
}
"""What a task has beyond them, and what for."""

CLI_HELPERS = {"__init__", "__main__", "main"}
"""Files of `cli/` that are not verbs; others start with an underscore."""

TESTS_THAT_MIRROR_NO_PART = {"examples", "acceptance", "architecture", "conformance", "helpers", "rules"}


def _functions(module: Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _in_folder(folder: Path) -> list[Module]:
    return [module for module in modules() if module.path.parent == folder]


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.place)
def test_no_file_and_no_function_is_too_long(module: Module) -> None:
    assert len(module.text.splitlines()) <= MAX_FILE_LINES
    long = {node.name: node.end_lineno - node.lineno + 1 for node in _functions(module)}
    assert not {name: lines for name, lines in long.items() if lines > MAX_FUNCTION_LINES}


def test_one_verb_one_file() -> None:
    verbs = importlib.import_module("snellen.cli.main").VERBS
    files = {module.path.stem for module in _in_folder(PACKAGE / "cli") if module.public} - CLI_HELPERS
    assert set(verbs) == files
    for verb in verbs:
        assert callable(importlib.import_module(f"snellen.cli.{verb}").register)


@pytest.mark.parametrize("module", rule_modules(), ids=lambda module: module.place)
def test_a_rule_lies_where_its_slug_and_family_say(module: Module) -> None:
    rule = importlib.import_module(module.name).RULE
    assert module.place == f"snellen/rules/{rule.family}/{rule.slug.replace('-', '_')}.py"
    assert rule.module == module.name


def test_rule_folders_are_the_families() -> None:
    folders = {path.name for path in (PACKAGE / "rules").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(get_args(Family))


def test_tasks_use_the_same_file_names() -> None:
    for folder in (PACKAGE / "tasks").iterdir():
        if not folder.is_dir() or folder.name == "__pycache__":
            continue
        allowed = TASK_FILES | EXTRA_TASK_FILES.get(folder.name, set())
        assert {module.path.stem for module in _in_folder(folder) if module.public} <= allowed


def test_only_known_parts_stand_below_the_package() -> None:
    parts = {
        "authoring", "check", "cli", "config", "core", "data", "demo", "engine", "estimate", "explain", "guard", "lint",
        "models", "ops", "proving", "rehearsal", "report", "rules", "tasks", "trace", "watch",
    }  # fmt: skip
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= parts


def test_tests_mirror_the_parts() -> None:
    parts = {module.part for module in modules() if module.part}
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders - TESTS_THAT_MIRROR_NO_PART <= parts, "a test folder without a part of the same name"
    untested = {part for part in parts - {"rules"} if not any((TESTS / part).rglob("test_*.py"))}
    assert not untested, "a part without tests in the folder of its name"


def test_test_files_are_named_so_that_they_run() -> None:
    stray = [
        path.relative_to(TESTS).as_posix()
        for path in TESTS.rglob("*.py")
        if not path.name.startswith("test_")
        and any(
            isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
            for node in ast.parse(path.read_text()).body
        )
    ]
    assert not stray
