"""What an expression is worth, as far as the text alone settles it."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable

from snellen.core.source import UNKNOWN

__all__ = ["qualified_name", "value_of"]

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_NAMED = {"math.inf": math.inf, "numpy.inf": math.inf, "numpy.Inf": math.inf, "torch.inf": math.inf}
_LARGEST = {
    "torch.float32": 3.4028234663852886e38,
    "torch.float": 3.4028234663852886e38,
    "torch.float64": 1.7976931348623157e308,
}
_LARGEST_POWER = 1024

Lookup = Callable[[str], object]
Names = Callable[[ast.expr], str | None]


def qualified_name(node: ast.expr, imports: dict[str, str]) -> str | None:
    """The dotted name that an expression spells, its first part resolved by the imports; `None` when it is no name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([imports.get(node.id, node.id), *reversed(parts)])


def value_of(node: ast.expr, names: Names, lookup: Lookup) -> object:
    """The constant an expression is known to be, else `UNKNOWN`.

    Args:
        node: The expression.
        names: Resolves a dotted name.
        lookup: The constant that a name (`x`, `self.x`) holds, else `UNKNOWN`.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return _unary(node, value_of(node.operand, names, lookup))
    if isinstance(node, ast.BinOp):
        return _binary(node.op, value_of(node.left, names, lookup), value_of(node.right, names, lookup))
    if isinstance(node, (ast.Tuple, ast.List)):
        items = tuple(value_of(item, names, lookup) for item in node.elts)
        return UNKNOWN if any(item is UNKNOWN for item in items) else items
    if isinstance(node, ast.Call):
        return _call(node, names, lookup)
    return _name(node, names, lookup)


def _name(node: ast.expr, names: Names, lookup: Lookup) -> object:
    # `torch.finfo(torch.float32).min` is a constant; `torch.finfo(x.dtype).min` is not.
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call) and node.attr in ("min", "max"):
        inner = node.value
        if names(inner.func) == "torch.finfo" and len(inner.args) == 1:
            largest = _LARGEST.get(names(inner.args[0]) or "")
            return UNKNOWN if largest is None else largest if node.attr == "max" else -largest
    name = names(node)
    if name is None:
        return UNKNOWN
    return _NAMED[name] if name in _NAMED else lookup(name)


def _unary(node: ast.UnaryOp, value: object) -> object:
    if isinstance(value, (int, float)):
        if isinstance(node.op, ast.USub):
            return -value
        if isinstance(node.op, ast.UAdd):
            return value
    return UNKNOWN


def _binary(op: ast.operator, left: object, right: object) -> object:
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    if not numbers or type(op) not in _OPERATORS:
        return UNKNOWN
    if isinstance(op, ast.Pow) and (abs(right) > _LARGEST_POWER or abs(left) > _LARGEST_POWER):  # type: ignore[arg-type]
        return UNKNOWN
    try:
        return _OPERATORS[type(op)](left, right)  # type: ignore[arg-type]
    except (ArithmeticError, ValueError):
        return UNKNOWN


def _call(node: ast.Call, names: Names, lookup: Lookup) -> object:
    if names(node.func) not in ("float", "int") or len(node.args) != 1 or node.keywords:
        return UNKNOWN
    inner = value_of(node.args[0], names, lookup)
    try:
        kind = float if names(node.func) == "float" else int
        return kind(inner) if isinstance(inner, (str, int, float)) else UNKNOWN
    except (ValueError, OverflowError):
        return UNKNOWN
