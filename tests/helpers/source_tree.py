"""The package's source as the architecture tests see it: files, modules, syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "src"
PACKAGE = SOURCE / "snellen"
TESTS = REPOSITORY / "tests"


@dataclass(frozen=True)
class Module:
    """One file of the package: `name` is dotted, `part` the folder below `snellen` (`""` for top-level files)."""

    path: Path
    name: str
    part: str

    @property
    def place(self) -> str:
        return self.path.relative_to(SOURCE).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def tree(self) -> ast.Module:
        return _parse(self.path)

    @property
    def public(self) -> bool:
        return not any(piece.startswith("_") for piece in self.name.split("."))

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def modules() -> tuple[Module, ...]:
    return tuple(_module(path) for path in sorted(PACKAGE.rglob("*.py")))


def public_modules() -> list[Module]:
    return [module for module in modules() if module.public]


def rule_modules() -> list[Module]:
    """`rules/<family>/<slug>.py`."""
    return [
        module
        for module in public_modules()
        if module.part == "rules" and module.name.count(".") == 3 and not module.is_package
    ]


def _module(path: Path) -> Module:
    relative = path.relative_to(SOURCE).with_suffix("")
    pieces = relative.parts[:-1] if path.name == "__init__.py" else relative.parts
    return Module(path, ".".join(pieces), relative.parts[1] if len(relative.parts) > 2 else "")


@dataclass(frozen=True)
class Import:
    """One import statement's target, `lazy` inside a function; what stands under `if TYPE_CHECKING` does not count."""

    target: str
    line: int
    lazy: bool

    @property
    def root(self) -> str:
        return self.target.split(".")[0]


def imports(module: Module) -> list[Import]:
    return list(_imports(module.tree, lazy=False))


def _imports(node: ast.AST, *, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield Import("." * child.level + (child.module or ""), child.lineno, lazy)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            yield from _imports(ast.Module(body=child.orelse, type_ignores=[]), lazy=lazy)
        else:
            yield from _imports(
                child, lazy=lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            )


def _is_type_checking(test: ast.expr) -> bool:
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"


def exported(module: Module) -> list[str] | None:
    """The names in `__all__` as written, `None` when there is none."""
    for node in module.tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None
