"""Stale modules are those that would now compile to other code; nested clones are found."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from snellen.check.facts.modules import reload_stale_modules, stale_modules
from snellen.check.facts.project import find_project_root, provide_project
from snellen.check.plan import RunPlan

SOURCE = """\
import functools
from dataclasses import dataclass

FILL = -1e9
counter = 0

def helper(x):
    return x + 1

@functools.cache
def cached(x):
    return [y for y in range(x)]

@dataclass
class Net:
    depth: int = 3

    @property
    def size(self):
        return self.depth * 2

    @staticmethod
    def build():
        def inner():
            return 1
        return inner

if FILL > 0:
    def branch():
        return 1
else:
    def branch():
        return 2
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "toy_model.py").write_text(SOURCE)
    (tmp_path / "toy_user.py").write_text("from toy_model import helper, Net\n\ndef use():\n    return helper(1)\n")
    importlib.invalidate_caches()
    importlib.import_module("toy_user")
    yield tmp_path
    for name in ("toy_model", "toy_user"):
        sys.modules.pop(name, None)


def edit(folder, old, new):
    path = folder / "toy_model.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def changed(folder):
    return {module.name: set(module.changed) for module in stale_modules([folder])}


def test_an_unchanged_module_is_fresh_whatever_its_time_stamp(package):
    assert changed(package) == {}
    edit(package, "import functools\n", "# a comment\n\n\nimport functools\n")
    sys.modules["toy_model"].counter = 7
    assert changed(package) == {}


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("x + 1", "x + 2", {"helper"}),
        ("x + 1", "x + 1.0", {"helper"}),
        ("range(x)", "range(x + 1)", {"cached"}),
        ("self.depth * 2", "self.depth * 3", {"Net.size"}),
        ("return 1\n        return inner", "return 5\n        return inner", {"Net.build"}),
        ("FILL = -1e9", "FILL = -65000.0", {"FILL"}),
        ("def helper(x)", "def assist(x)", {"helper", "assist"}),
        ("    @staticmethod", "    def more(self):\n        return 1\n\n    @staticmethod", {"Net.more"}),
        ("return 2", "return 3", {"branch"}),
    ],
)
def test_a_change_is_named_by_what_it_changed(package, old, new, names):
    edit(package, old, new)
    assert changed(package) == {"toy_model": names}


def test_a_file_that_does_not_parse_is_no_verdict_and_a_deleted_one_is(package):
    edit(package, "def helper(x):", "def helper(x:")
    assert changed(package) == {}
    (package / "toy_model.py").unlink()
    assert [module.how for module in stale_modules([package])] == ["deleted"]


def test_reload_renews_what_others_imported_by_name(package):
    user = sys.modules["toy_user"]
    edit(package, "x + 1", "x + 10")
    assert user.use() == 2
    assert reload_stale_modules([package]) == ["toy_model"]
    assert user.use() == 11
    assert user.Net is sys.modules["toy_model"].Net
    assert changed(package) == {}


def project(folder, remote=None):
    (folder / ".git").mkdir(parents=True)
    (folder / "src").mkdir()
    (folder / "src" / "train.py").touch()
    (folder / "README.md").touch()
    if remote:
        (folder / ".git" / "config").write_text(f'[core]\n\tbare = false\n[remote "origin"]\n\turl = {remote}\n')


@pytest.mark.parametrize("remote", [None, "https://example.org/me/cmfd.git"])
def test_a_clone_inside_itself_is_found(tmp_path, remote):
    project(tmp_path / "cmfd", remote)
    project(tmp_path / "cmfd" / "cmfd", remote)
    inner = tmp_path / "cmfd" / "cmfd" / "src"
    assert find_project_root(inner) == (tmp_path / "cmfd").resolve()
    facts = provide_project(RunPlan(root=inner))
    assert facts.inside_nested
    assert facts.nested == (str((tmp_path / "cmfd" / "cmfd").resolve()),)
    outside = provide_project(RunPlan(root=tmp_path / "cmfd"))
    assert not outside.inside_nested
    assert len(outside.nested) == 1


def test_a_package_of_the_same_name_and_a_submodule_are_no_clones(tmp_path):
    project(tmp_path / "tool", "https://example.org/tool")
    (tmp_path / "tool" / "tool").mkdir()
    (tmp_path / "tool" / "tool" / "__init__.py").touch()
    project(tmp_path / "tool" / "third_party", "https://example.org/other")
    facts = provide_project(RunPlan(root=tmp_path / "tool"))
    assert facts.nested == ()
    assert Path(facts.root).name == "tool"


def test_without_markers_the_folder_itself_is_the_root(tmp_path):
    if any((parent / ".git").exists() for parent in tmp_path.parents):
        pytest.skip("the temporary folder lies in a repository")
    assert find_project_root(tmp_path / "nothing.yaml") == tmp_path.resolve()
