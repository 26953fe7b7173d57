"""`__all__` is the interface: present, sorted, true, and documented."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import snellen
from source_tree import Module, exported, public_modules


def _has_interface(module: Module) -> bool:
    """Every public file states one, save package files that hold nothing but their docstring."""
    return not (module.is_package and len(module.tree.body) <= 1) and not module.name.endswith("__main__")


WITH_INTERFACE = [module for module in public_modules() if _has_interface(module)]


def _order(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest: the order that ruff's RUF022 keeps."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


@pytest.mark.parametrize("module", public_modules(), ids=lambda module: module.place)
def test_every_module_says_what_it_is_for(module: Module) -> None:
    docstring = inspect.getdoc(importlib.import_module(module.name)) or ""
    assert len(docstring.split()) > 2, f"{module.place} has no docstring that says what it is for"


@pytest.mark.parametrize("module", WITH_INTERFACE, ids=lambda module: module.place)
def test_all_is_stated_and_sorted(module: Module) -> None:
    names = exported(module)
    assert names is not None, f"{module.place} has no __all__"
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=_order)


@pytest.mark.parametrize("module", WITH_INTERFACE, ids=lambda module: module.place)
def test_every_exported_name_exists_and_is_documented(module: Module) -> None:
    loaded = importlib.import_module(module.name)
    for name in exported(module) or ():
        value = getattr(loaded, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module.place}: {name} has no docstring"


def test_the_package_lists_what_it_gives() -> None:
    assert set(snellen.__all__) <= set(dir(snellen))
    for name in snellen.__all__:
        assert getattr(snellen, name) is not None


def test_a_public_name_is_not_hidden_by_the_part_of_the_same_name() -> None:
    """Importing `snellen.explain.parse` puts the folder's module where the function `snellen.explain` has to be."""
    parts = {module.name for module in public_modules() if module.is_package and module.name.count(".") == 1}
    shared = sorted({f"snellen.{name}" for name in snellen.__all__} & parts)
    checks = "\n".join(f"assert callable({name}), {name}; assert callable({name}), {name}" for name in shared)
    for first in ("import snellen", *(f"import {name}" for name in shared)):
        program = f"{first}\n{checks}\n"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"after `{first}`: {done.stderr}"
