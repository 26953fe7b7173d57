"""What the run's own code asks of the environment, read from its source; nothing of it is run."""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from snellen.core.environment import run_git
from snellen.core.facts.environment import CodeFacts, ImportedModule, RepositoryFacts
from snellen.core.plan import FactUnavailable, NotApplicable, Plan

__all__ = ["provide_code", "provide_repository", "read_code"]

_MOST_FILES = 3000
_LARGEST = 1 << 20
_PASSED_OVER = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})
_CATCHES = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def provide_code(plan: Plan) -> CodeFacts:
    """The fact `code`."""
    machine = plan.fact("machine")
    if not machine.here:
        raise FactUnavailable(f"the run is meant for {machine.name}: what is installed there is not known here")
    places = _places(plan)
    return read_code(places, [plan.root, *(place if place.is_dir() else place.parent for place in places)])


def provide_repository(plan: Plan) -> RepositoryFacts:
    """The fact `repository`: of the run's own code."""
    places = _places(plan)
    folder = places[0] if places[0].is_dir() else places[0].parent
    top = run_git(folder, "rev-parse", "--show-toplevel")
    if not top:
        raise NotApplicable("the run's code lies in no git repository")
    root = Path(os.fsdecode(top).strip())
    commit = run_git(root, "rev-parse", "--verify", "-q", "HEAD")
    branch = run_git(root, "symbolic-ref", "-q", "--short", "HEAD")
    status = run_git(
        *(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored", "--"),
        *map(str, places),
    )
    entries = [os.fsdecode(entry) for entry in (status or b"").split(b"\0") if entry.endswith(b".py")]
    return RepositoryFacts(
        str(root),
        commit.decode().strip() if commit else "",
        os.fsdecode(branch).strip() if branch else "",
        tuple(entry[3:] for entry in entries if entry[:2] not in ("??", "!!")),
        tuple(entry[3:] for entry in entries if entry[:2] in ("??", "!!")),
    )


def _places(plan: Plan) -> list[Path]:
    code = plan.settings.get("code")
    places = [plan.root / item for item in code if isinstance(item, str)] if isinstance(code, list) else []
    places = [place for place in places if place.exists()]
    if not places:
        raise NotApplicable("the run names no `code` to look into")
    return places


def read_code(places: Iterable[Path], roots: Sequence[Path], *, path: Sequence[str] | None = None) -> CodeFacts:
    """The imports and the compiled models of source files.

    Args:
        places: Files and folders.
        roots: Folders that the code would be started in: its own modules are found there.
        path: Folders that packages are looked for in; those of this process by default.
    """
    imports: dict[str, ImportedModule] = {}
    compiles: list[tuple[str, int]] = []
    unread: list[tuple[str, str]] = []
    count = 0
    for file in _files(places):
        if count >= _MOST_FILES:
            unread.append((str(file), f"only {_MOST_FILES} files are read"))
            break
        count += 1
        try:
            tree = _parse(file)
        except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            unread.append((str(file), f"{type(error).__name__}: {error}"))
            continue
        search = [str(file.parent), *map(str, roots), *(sys.path if path is None else path)]
        for name, line, guarded in _imports(tree.body, guarded=False):
            known = imports.get(name)
            if known is None or (known.guarded and not guarded):
                found = known.found if known is not None else _is_there(name, search)
                imports[name] = ImportedModule(name, str(file), line, found, guarded)
        compiles += [(str(file), line) for line in _compiles(tree)]
    return CodeFacts(count, tuple(imports.values()), tuple(compiles), tuple(unread))


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if not place.is_dir():
            yield from (place,) if place.suffix == ".py" else ()
            continue
        for folder, names, files in os.walk(place):
            names[:] = sorted(name for name in names if name not in _PASSED_OVER and not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))


def _parse(file: Path) -> ast.Module:
    if file.stat().st_size > _LARGEST:
        raise ValueError("larger than 1 MiB")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(file.read_bytes())


def _imports(body: Iterable[ast.stmt], *, guarded: bool) -> Iterator[tuple[str, int, bool]]:
    """Top-level names of absolute imports, their lines, and whether a failure there can be lived with."""
    for node in body:
        match node:
            case ast.Import():
                yield from ((alias.name.partition(".")[0], node.lineno, guarded) for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0], node.lineno, guarded
            case ast.Try():
                caught = any(_catches(handler) for handler in node.handlers)
                yield from _imports(node.body, guarded=guarded or caught)
                # What stands in for a missing package is looked for only then.
                yield from _imports((one for handler in node.handlers for one in handler.body), guarded=True)
                yield from _imports((*node.orelse, *node.finalbody), guarded=guarded or caught)
            case ast.If() | ast.For() | ast.While():
                yield from _imports((*node.body, *node.orelse), guarded=True)
            case ast.With() | ast.ClassDef():
                yield from _imports(node.body, guarded=guarded)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _imports(node.body, guarded=True)


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & _CATCHES)


def _is_there(name: str, search: Sequence[str]) -> bool:
    if name in sys.stdlib_module_names or name == "__future__":
        return True
    try:
        return PathFinder.find_spec(name, list(search)) is not None
    except (ImportError, ValueError):
        return False


def _compiles(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="compile", value=ast.Name(id="torch")):
                yield node.lineno
