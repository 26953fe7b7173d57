"""How often a fault is still found when it is written another way.

    python benchmarks/lint_recall.py                 all rules
    python benchmarks/lint_recall.py half-overflow   some
    python benchmarks/lint_recall.py --misses        each miss with its source

Every `tests/rules/<slug>/bad_*.py` is rewritten by the disguises below; a disguise that leaves the text as it was does
not count. What is found in the original is what has to be found again.
"""

from __future__ import annotations

import argparse
import ast
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

from snellen.lint.runner import chosen_rules, run

EXAMPLES = Path(__file__).resolve().parents[1] / "tests" / "rules"


class _Rename(ast.NodeTransformer):
    def __init__(self, names: dict[str, ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node) if isinstance(node.ctx, ast.Load) else node


def other_aliases(tree: ast.Module) -> ast.Module:
    """`import numpy as np` becomes `import numpy as np_`, `from a import b` becomes `from a import b as b_`."""
    names: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and getattr(node, "module", "") != "__future__":
            for alias in node.names:
                local = alias.asname or alias.name
                if "." not in local and local != "*":
                    alias.asname = f"{local}_"
                    names[local] = ast.Name(f"{local}_", ast.Load())
    return _Rename(names).visit(tree)  # type: ignore[no-any-return]


def whole_modules(tree: ast.Module) -> ast.Module:
    """`from torch import nn` becomes `import torch`, and `nn` becomes `torch.nn`."""
    names: dict[str, ast.expr] = {}
    for position, node in enumerate(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__" and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = ast.parse(f"{node.module}.{alias.name}", mode="eval").body
            tree.body[position] = ast.Import([ast.alias(node.module)])
    return _Rename(names).visit(tree)  # type: ignore[no-any-return]


class _Names(ast.NodeTransformer):
    """Calls of `torch.nn.functional.softmax` by the bare name."""

    def __init__(self, roots: dict[str, str]) -> None:
        self.roots = roots
        self.wanted: dict[str, str] = {}

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        dotted = ast.unparse(node.func) if isinstance(node.func, ast.Attribute) else ""
        root, _, rest = dotted.partition(".")
        if root in self.roots and rest and all(part.isidentifier() for part in rest.split(".")):
            module, _, name = f"{self.roots[root]}.{rest}".rpartition(".")
            if self.wanted.setdefault(name, module) == module:
                node.func = ast.Name(name, ast.Load())
        return node


def bare_names(tree: ast.Module) -> ast.Module:
    """`F.softmax(x)` becomes `softmax(x)` with `from torch.nn.functional import softmax`."""
    roots: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            roots |= {
                alias.asname or alias.name: alias.name for alias in node.names if alias.asname or "." not in alias.name
            }
        elif isinstance(node, ast.ImportFrom) and node.module == "torch":
            roots |= {
                a.asname or a.name: f"torch.{a.name}" for a in node.names if a.name in ("nn", "optim", "cuda", "amp")
            }
    names = _Names(roots)
    tree = names.visit(tree)
    taken = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    if taken & set(names.wanted):
        return tree
    imports = [ast.ImportFrom(module, [ast.alias(name)], 0) for name, module in names.wanted.items()]
    start = next((n for n, node in enumerate(tree.body) if not _opening(node)), 0)
    tree.body[start:start] = imports
    return tree


def _opening(node: ast.stmt) -> bool:
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_text or (isinstance(node, ast.ImportFrom) and node.module == "__future__")


class _Constants(ast.NodeTransformer):
    def __init__(self) -> None:
        self.found: list[ast.stmt] = []

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        node.args = [self._named(value) for value in node.args]
        for keyword in node.keywords:
            keyword.value = self._named(keyword.value)
        return node

    def _named(self, value: ast.expr) -> ast.expr:
        inner = value.operand if isinstance(value, ast.UnaryOp) else value
        if not isinstance(inner, ast.Constant) or isinstance(inner.value, bool) or inner.value is None:
            return value
        if not isinstance(inner.value, (int, float, str)):
            return value
        name = f"VALUE_{len(self.found)}"
        self.found.append(ast.parse(f"{name} = {ast.unparse(value)}").body[0])
        return ast.Name(name, ast.Load())


def named_constants(tree: ast.Module) -> ast.Module:
    """Numbers and texts given to calls become constants of the module."""
    constants = _Constants()
    tree = constants.visit(tree)
    last = max((n for n, node in enumerate(tree.body) if isinstance(node, (ast.Import, ast.ImportFrom))), default=-1)
    tree.body[last + 1 : last + 1] = constants.found
    return tree


class _Steps(ast.NodeTransformer):
    """`f(g(x))` becomes `step = g(x); f(step)`, statement by statement."""

    def __init__(self) -> None:
        self.count = 0

    def _split(self, node: ast.stmt) -> ast.stmt | list[ast.stmt]:
        value = getattr(node, "value", None)
        # Taking an argument out of `f(x)(g(y))` would change the order of the calls.
        if not isinstance(value, ast.Call) or (isinstance(value.func, ast.Attribute) and _calls(value.func.value)):
            return node
        before: list[ast.stmt] = []
        for position, argument in enumerate(value.args):
            if isinstance(argument, ast.Call):
                self.count += 1
                name = f"step_{self.count}"
                before.append(ast.Assign([ast.Name(name, ast.Store())], argument))
                value.args[position] = ast.Name(name, ast.Load())
        return [*before, node]

    visit_Expr = visit_Assign = visit_Return = _split  # noqa: N815 - the names that NodeTransformer looks for


def _calls(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def small_steps(tree: ast.Module) -> ast.Module:
    """What is computed within the arguments of a call gets a name first."""
    return _Steps().visit(tree)  # type: ignore[no-any-return]


class _Annotations(ast.NodeTransformer):
    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            return ast.AnnAssign(node.targets[0], ast.Name("object", ast.Load()), node.value, 1)
        return node


def annotated(tree: ast.Module) -> ast.Module:
    """`x = 1` becomes `x: object = 1`."""
    return _Annotations().visit(tree)  # type: ignore[no-any-return]


def in_a_function(tree: ast.Module) -> ast.Module:
    """What stands at the level of the module moves into `main`."""
    kept: list[ast.stmt] = []
    moved: list[ast.stmt] = []
    for node in tree.body:
        stays = isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)) or _opening(node)
        (kept if stays else moved).append(node)
    defined = {node.name for node in kept if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    if not moved or (defined and _reads(kept) & _writes(moved)):
        return tree
    main = ast.parse("def main():\n    pass\nmain()").body
    main[0].body = moved  # type: ignore[attr-defined]
    tree.body = [*kept, *main]
    return tree


def _reads(nodes: list[ast.stmt]) -> set[str]:
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def _writes(nodes: list[ast.stmt]) -> set[str]:
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def in_a_method(tree: ast.Module) -> ast.Module:
    """A function that nothing here calls becomes a method."""
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    for position, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef) and node.name not in called:
            node.args.args.insert(0, ast.arg("self"))
            owner = ast.parse("class Owner:\n    pass").body[0]
            owner.body = [node]  # type: ignore[attr-defined]
            tree.body[position] = owner
    return tree


DISGUISES: tuple[Callable[[ast.Module], ast.Module], ...] = (
    other_aliases, whole_modules, bare_names, named_constants, small_steps, annotated, in_a_function, in_a_method,
)  # fmt: skip


def found_in(text: str, slug: str, folder: Path) -> int:
    """Number of findings of a rule in a text."""
    path = folder / "source.py"
    path.write_text(text, encoding="utf-8")
    return len(run([path], chosen_rules([slug])).findings)


def main() -> None:
    """Print found of planted, by rule and by disguise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slugs", nargs="*")
    parser.add_argument("--misses", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Counter[str]] = defaultdict(Counter)
    planted: dict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as scratch:
        for slug in options.slugs or chosen_rules():
            for path in sorted((EXAMPLES / slug).glob("bad_*.py")):
                text = ast.unparse(ast.parse(path.read_text(encoding="utf-8")))
                whole = found_in(text, slug, Path(scratch))
                for disguise in DISGUISES:
                    variant = ast.unparse(ast.fix_missing_locations(disguise(ast.parse(text))))
                    if variant == text:
                        continue
                    count = min(whole, found_in(variant, slug, Path(scratch)))
                    planted[slug][disguise.__name__] += whole
                    found[slug][disguise.__name__] += count
                    if options.misses and count < whole:
                        print(f"--- {slug} {path.name} {disguise.__name__}: {count} of {whole}\n{variant}\n")
    total = sum(counter.total() for counter in planted.values())
    right = sum(counter.total() for counter in found.values())
    if options.json:
        rules = {slug: {"found": found[slug].total(), "planted": planted[slug].total()} for slug in planted}
        print(json.dumps({"found": right, "planted": total, "recall": right / max(1, total), "rules": rules}, indent=2))
        return
    for slug, counter in planted.items():
        missed = ", ".join(f"{n} {found[slug][n]}/{counter[n]}" for n in counter if found[slug][n] < counter[n])
        print(f"{slug:<34} {found[slug].total():>4} of {counter.total():<4} {missed}")
    for disguise in DISGUISES:
        name = disguise.__name__
        print(f"  {name:<18} {sum(c[name] for c in found.values())} of {sum(c[name] for c in planted.values())}")
    print(f"recall on disguised faults: {right} of {total} = {right / max(1, total):.1%}, {len(planted)} rules")


if __name__ == "__main__":
    main()
