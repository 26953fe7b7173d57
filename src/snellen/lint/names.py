"""What names of a file mean, and which calls hand on what they were given."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from snellen.core.source import Import

__all__ = ["KEEPING_FUNCTIONS", "KEEPING_METHODS", "MODULE_METHODS", "SIGNS", "imports_of"]

KEEPING_METHODS = frozenset(
    (
        *("view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "flatten", "unflatten"),
        *("float", "half", "bfloat16", "double", "to", "type", "type_as", "cpu", "cuda", "detach", "clone"),
        *("get", "pop", "copy", "requires_grad_", "train", "eval"),
    )
)
"""Methods whose result is their receiver in another shape, dtype, place or mode."""
MODULE_METHODS = frozenset(
    {"to", "cpu", "cuda", "float", "half", "bfloat16", "double", "type", "requires_grad_", "train", "eval"}
)
"""Those of them that a module has: what they return can be called as before."""
KEEPING_FUNCTIONS = frozenset(
    {
        "torch.nn.functional.normalize",
        "torch.permute",
        "torch.reshape",
        "torch.flatten",
        "torch.transpose",
        "torch.squeeze",
        "torch.unsqueeze",
        "einops.rearrange",
        "copy.deepcopy",
        "copy.copy",
        "argparse.Namespace",
        "types.SimpleNamespace",
        "easydict.EasyDict",
        "box.Box",
        "dict",
        "vars",
        "list",
        "tuple",
    }
)
SIGNS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.MatMult: "@",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
"""How operators are written."""


def imports_of(tree: ast.Module) -> tuple[dict[str, str], tuple[Import, ...]]:
    """Local names of what is imported anywhere in the file, and the import statements in order."""
    names: dict[str, str] = {}
    statements: list[Import] = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                statements.append(Import(alias.name, (), node.lineno))
                if alias.asname:
                    names[alias.asname] = alias.name
                else:
                    names[alias.name.partition(".")[0]] = alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            statements.append(Import(module, tuple(alias.name for alias in node.names), node.lineno))
            for alias in node.names:
                names[alias.asname or alias.name] = f"{module}.{alias.name}" if module else alias.name
    statements.sort(key=lambda statement: statement.line)
    return names, tuple(statements)


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements, outer ones first; expressions, most of a tree, are passed over."""
    waiting: list[ast.AST] = [tree]
    for node in waiting:
        yield node
        for name in ("body", "handlers", "cases", "orelse", "finalbody"):
            below = getattr(node, name, ())
            if isinstance(below, list):
                waiting.extend(below)
