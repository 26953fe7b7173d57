"""What names of a file mean, and which calls hand on what they were given."""

from __future__ import annotations

import ast

from snellen.core.source import Import

__all__ = ["KEEPING_FUNCTIONS", "KEEPING_METHODS", "imports_of"]

KEEPING_METHODS = frozenset(
    (
        *("view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "flatten", "unflatten"),
        *("float", "half", "bfloat16", "double", "to", "type", "type_as", "cpu", "cuda", "detach", "clone"),
        *("get", "pop", "copy", "requires_grad_"),
    )
)
"""Methods whose result is their receiver in another shape, dtype or place."""
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


def imports_of(tree: ast.Module) -> tuple[dict[str, str], tuple[Import, ...]]:
    """Local names of what is imported anywhere in the file, and the import statements in order."""
    names: dict[str, str] = {}
    statements: list[Import] = []
    for node in ast.walk(tree):
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
