"""Loaded modules whose source has changed since: which functions differ, and how to load them anew."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import sys
import sysconfig
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from snellen.core.facts.project import StaleModule
from snellen.core.plan import Plan

__all__ = ["loaded_from", "provide_stale_modules", "reload_stale_modules", "stale_modules"]

_MAX_SOURCE = 2 * 2**20
_CODE_FIELDS = (
    "co_code",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
)


def provide_stale_modules(plan: Plan) -> tuple[StaleModule, ...]:
    """The fact `stale_modules`: of the run's own code, and of what lies beside the run file."""
    code = plan.settings.get("code")
    given = code if isinstance(code, list) else []
    roots = [plan.root, *(plan.root / item for item in given if isinstance(item, str))]
    return tuple(stale_modules(roots))


def stale_modules(roots: Iterable[str | Path] = ()) -> list[StaleModule]:
    """Modules of this process whose source on disk would now compile to other code.

    What is compared is the code itself, not a time stamp: a touched file, a changed comment or a moved blank line is
    not stale. A function that was wrapped or replaced at run time is compared by the code that its module holds.

    Args:
        roots: Files and folders to look in; the current folder without any. Installed packages are left out.

    Example:
        >>> stale_modules(["/nowhere"])
        []
    """
    places = [Path(root).resolve() for root in roots] or [Path.cwd().resolve()]
    found = (_compare(name, module, path) for name, module, path in loaded_from(places))
    return [stale for stale in found if stale is not None]


def loaded_from(places: Sequence[Path]) -> Iterator[tuple[str, types.ModuleType, Path]]:
    """Loaded modules whose source lies in one of the places, installed packages left out."""
    installed = {Path(path).resolve() for name, path in sysconfig.get_paths().items() if name != "data"}
    for name, module in sorted(sys.modules.items()):
        # Some entries are lazy objects that import half of a library when an attribute is read.
        if type(module) is not types.ModuleType or name == "__main__":
            continue
        file = module.__dict__.get("__file__")
        loader = getattr(module.__spec__, "loader", None)
        # Import hooks (pytest's assertions, type checkers at run time) rewrite code: it never equals its source.
        if not isinstance(file, str) or type(loader) is not importlib.machinery.SourceFileLoader:
            continue
        path = Path(file).resolve()
        if any(path.is_relative_to(place) for place in places) and not any(
            path.is_relative_to(place) for place in installed
        ):
            yield name, module, path


def reload_stale_modules(roots: Iterable[str | Path] = ()) -> list[str]:
    """Load stale modules anew, those that others import from first; gives their names.

    Objects made before keep their old code: make models and data loaders again afterwards. A name that another module
    took with `from module import name` is renewed there, too, when that module lies in `roots`.

    Args:
        roots: As for `stale_modules`.

    Raises:
        Exception: What a module raises while it is loaded; the ones before it are new, it is as it was.
    """
    places = [Path(root).resolve() for root in roots] or [Path.cwd().resolve()]
    stale = {module.name for module in stale_modules(places) if module.how == "changed"}
    modules = {name: module for name, module, _ in loaded_from(places)}
    order = _imports_first(stale, modules)
    importlib.invalidate_caches()
    for name in order:
        before = dict(modules[name].__dict__)
        _load_anew(modules[name])
        _renew(before, modules[name], modules.values())
    return order


def _load_anew(module: types.ModuleType) -> None:
    specification = module.__spec__
    try:
        importlib.reload(module)
    except ModuleNotFoundError as error:
        if error.name != module.__name__ or specification is None or specification.loader is None:
            raise
        # Loaded from a file by its path, as notebooks do: on no import path, but its own loader knows the file.
        # The failed reload has taken the specification away.
        module.__spec__ = specification
        specification.loader.exec_module(module)


def _renew(before: Mapping[str, object], module: types.ModuleType, others: Iterable[types.ModuleType]) -> None:
    renewed = {
        id(old): module.__dict__[name]
        for name, old in before.items()
        if isinstance(old, (types.FunctionType, type))
        and old.__module__ == module.__name__
        and name in module.__dict__
        and module.__dict__[name] is not old
    }
    for other in others:
        for name, value in list(other.__dict__.items()):
            if other is not module and id(value) in renewed:
                other.__dict__[name] = renewed[id(value)]


def _imports_first(stale: Iterable[str], modules: Mapping[str, types.ModuleType]) -> list[str]:
    order: list[str] = []
    waiting = sorted(stale)

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in order or name in path:
            return
        for value in modules[name].__dict__.values():
            owner = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
            if isinstance(owner, str) and owner != name and owner in waiting:
                visit(owner, (*path, name))
        order.append(name)

    for name in waiting:
        visit(name, ())
    return order


def _compare(name: str, module: types.ModuleType, path: Path) -> StaleModule | None:
    if not path.exists():
        return StaleModule(name, str(path), how="deleted")
    now = _compile(path)
    if now is None:
        return None
    new: dict[str, set[tuple[object, ...]]] = {}
    for qualified, code in _functions_in(now, ""):
        # A name can be defined in several branches of an `if`.
        new.setdefault(qualified, set()).add(_essence(code))
    loaded = dict(_functions_of(module))
    changed = [
        qualified for qualified, code in loaded.items() if qualified not in new or _essence(code) not in new[qualified]
    ]
    changed += [qualified for qualified in new if qualified not in loaded and not _holds(module, qualified)]
    changed += _changed_constants(module, path)
    return StaleModule(name, str(path), tuple(changed)) if changed else None


def _holds(module: types.ModuleType, qualified: str) -> bool:
    """Whether the loaded module has that name at all: decorators may have put something else in its place."""
    value: object = module
    for part in qualified.split("."):
        namespace = getattr(value, "__dict__", None)
        if namespace is None or part not in namespace:
            # A class that was replaced by a decorator cannot be compared; a name that is missing is new on disk.
            return value is not module and not isinstance(value, type)
        value = namespace[part]
    return True


def _changed_constants(module: types.ModuleType, path: Path) -> list[str]:
    """Names in capitals that stand for another literal now; other globals may well change while a program runs."""
    tree = ast.parse(path.read_bytes())
    assigned: dict[str, list[object]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper():
                assigned.setdefault(name, []).append(_literal(node.value))
    return [
        name
        for name, (value, *more) in assigned.items()
        if not more and value is not _NO_LITERAL and name in module.__dict__
        if _typed(module.__dict__[name]) != _typed(value)
    ]


_NO_LITERAL = object()


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _NO_LITERAL


def _compile(path: Path) -> types.CodeType | None:
    try:
        if path.stat().st_size > _MAX_SOURCE:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Compiled with the flags of a plain import; nothing is run.
            return compile(path.read_bytes(), str(path), "exec", dont_inherit=True, optimize=sys.flags.optimize)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions_in(code: types.CodeType, prefix: str) -> Iterator[tuple[str, types.CodeType]]:
    """Functions of a compiled module by qualified name; classes are gone into, functions are not."""
    for constant in code.co_consts:
        if not isinstance(constant, types.CodeType) or constant.co_name.startswith("<"):
            continue
        qualified = prefix + constant.co_name
        if constant.co_flags & 0x2:  # CO_NEWLOCALS: a function; a class body has none
            yield qualified, constant
        else:
            yield from _functions_in(constant, f"{qualified}.")


def _functions_of(module: types.ModuleType) -> Iterator[tuple[str, types.CodeType]]:
    yield from _functions_in_namespace(module.__dict__, module.__name__, "", set())


def _functions_in_namespace(
    namespace: Mapping[str, object], module: str, prefix: str, seen: set[int]
) -> Iterator[tuple[str, types.CodeType]]:
    for value in list(namespace.values()):
        raw = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        raw = raw.fget if isinstance(raw, property) else raw
        if not isinstance(raw, (type, types.ModuleType)):
            raw = getattr(raw, "__dict__", {}).get("__wrapped__", raw)
        if getattr(raw, "__module__", None) != module or id(raw) in seen:
            continue
        if isinstance(raw, types.FunctionType):
            seen.add(id(raw))
            # What dataclasses and the like generate stands in no file.
            if raw.__qualname__ == prefix + raw.__name__ and not raw.__code__.co_filename.startswith("<"):
                yield raw.__qualname__, raw.__code__
        elif isinstance(raw, type) and raw.__qualname__ == prefix + raw.__name__:
            seen.add(id(raw))
            yield from _functions_in_namespace(vars(raw), module, f"{raw.__qualname__}.", seen)


def _essence(code: types.CodeType) -> tuple[object, ...]:
    """What of a code object decides what it does: not its line numbers, not its file name."""
    constants = tuple(_essence(item) if isinstance(item, types.CodeType) else _typed(item) for item in code.co_consts)
    return (*(getattr(code, field) for field in _CODE_FIELDS), constants)


def _typed(constant: object) -> object:
    # 1, 1.0 and True are equal and yet other programs.
    if isinstance(constant, (tuple, frozenset)):
        return (type(constant).__name__, tuple(sorted(map(repr, constant))) if isinstance(constant, frozenset) else
                tuple(map(_typed, constant)))  # fmt: skip
    return (type(constant).__name__, repr(constant))
