"""Expressions of a source file taken apart: which parts carry the contents of the result, and where they stand."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import TypeAlias

from snellen.core.calls import UNKNOWN, Span

__all__ = [
    "beside",
    "constant_of",
    "content_inputs",
    "items_of",
    "operator_of",
    "parsed",
    "picked",
    "place_of",
    "text_of",
]

_LONGEST = 20_000
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}
_CONTENT = re.compile(
    r"images?|img|masks?|inputs?|x|src|data|tensors?|arrays?|a|object|obj|frame|pic|boxes\d?|bboxes|pixel_values|X"
)
"""Names of parameters that carry what a function works on."""
_OWN_CONTENT = frozenset(
    (
        *("view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "flatten", "float", "half"),
        *(
            "to",
            "type",
            "astype",
            "cpu",
            "cuda",
            "detach",
            "clone",
            "copy",
            "numpy",
            "repeat",
            "expand",
            "eval",
            "train",
        ),
        *("long", "int", "byte", "bool", "double", "clip", "clamp", "clamp_", "round", "convert", "resize", "crop"),
        *(
            "rotate",
            "filter",
            "quantize",
            "point",
            "tolist",
            "item",
            "mean",
            "std",
            "sum",
            "max",
            "min",
            "argmax",
            "flip",
        ),
        *(
            "div",
            "div_",
            "mul",
            "mul_",
            "sub",
            "sub_",
            "add",
            "add_",
            "unfold",
            "swapaxes",
            "moveaxis",
            "requires_grad_",
        ),
        *(
            "bfloat16",
            "type_as",
            "to_numpy",
            "unbind",
            "chunk",
            "split",
            "values",
            "items",
            "keys",
            "strip",
            "thumbnail",
        ),
    )
)
"""Methods of arrays, tensors and pictures: the contents are those of the receiver, arguments are sizes and the like."""

Keys: TypeAlias = "tuple[object, ...]"
"""What is taken from a value, first comes first: a position, a key, or `*` for any item."""


@lru_cache(maxsize=8192)
def parsed(code: str) -> ast.expr | None:
    """The tree of an expression, `None` when the text is none.

    Example:
        >>> type(parsed("a + b")).__name__
        'BinOp'
    """
    if len(code) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(f"({code}\n)", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def place_of(node: ast.expr, code: str, base: Span) -> Span:
    """Where a part of an expression stands in the file.

    Args:
        node: A part of `parsed(code)`.
        code: The expression as written.
        base: Where the whole of it starts.
    """
    start = _character(code, node.lineno, node.col_offset)
    end_line = node.end_lineno or node.lineno
    end = _character(code, end_line, node.end_col_offset or 0)
    first, last = base.start_line + node.lineno - 1, base.start_line + end_line - 1
    return Span(
        first,
        start + (base.start_column if node.lineno == 1 else 0),
        last,
        end + (base.start_column if end_line == 1 else 0),
    )


def text_of(node: ast.expr, code: str) -> str:
    """What is written there."""
    span = place_of(node, code, Span(1, 0, 1, 0))
    lines = code.split("\n")[span.start_line - 1 : span.end_line]
    if not lines:
        return ""
    lines[-1] = lines[-1][: span.end_column]
    lines[0] = lines[0][span.start_column :]
    return "\n".join(lines)


def _character(code: str, line: int, column: int) -> int:
    """The byte column of `ast` as a column in characters; the bracket that `parsed` opens is not counted."""
    column -= line == 1
    if code.isascii():
        return column
    lines = code.split("\n")
    return len(lines[line - 1].encode()[:column].decode("utf-8", "replace")) if line <= len(lines) else column


def operator_of(node: ast.expr) -> str:
    """The name of the step that an expression takes with its parts, `""` when it hands them on as they are."""
    if isinstance(node, ast.BinOp):
        return _OPERATORS.get(type(node.op), "?")
    if isinstance(node, ast.Subscript):
        return "[]"
    return "compare" if isinstance(node, ast.Compare) else ""


def beside(part: ast.expr, node: ast.expr) -> ast.expr | None:
    """The other side of an operator."""
    if not isinstance(node, ast.BinOp):
        return None
    return node.right if part is node.left else node.left


def constant_of(node: ast.expr) -> object:
    """The number, text or tuple of such that an expression spells out, else `UNKNOWN`.

    Example:
        >>> constant_of(parsed("[-1, 0.5]"))
        (-1, 0.5)
    """
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN
    return tuple(value) if isinstance(value, list) else value


def picked(node: ast.expr, keys: Keys) -> Iterator[tuple[ast.expr, Keys]]:
    """The parts that carry the contents of an expression other than a name or call, each with the keys left to pick.

    Args:
        node: The expression.
        keys: What is taken from it, first comes first: a position, a key, or `*` for any item.
    """
    if isinstance(node, ast.Subscript):
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        yield node.value, (key, *keys) if isinstance(key, (int, str)) else keys if key is None else ()
    elif isinstance(node, ast.BinOp):
        yield node.left, ()
        yield node.right, ()
    elif isinstance(node, ast.Compare):
        yield node.left, ()
    elif isinstance(node, (ast.UnaryOp, ast.Await, ast.Starred, ast.NamedExpr)):
        yield node.operand if isinstance(node, ast.UnaryOp) else node.value, keys
    elif isinstance(node, ast.IfExp):
        yield node.body, keys
        yield node.orelse, keys
    elif isinstance(node, ast.BoolOp):
        yield from ((part, keys) for part in node.values)
    elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        yield from _elements(list(node.elts), keys)
    elif isinstance(node, ast.Dict):
        named = [
            (key.value if isinstance(key, ast.Constant) else None, value)
            for key, value in zip(node.keys, node.values, strict=True)
        ]
        if keys and isinstance(keys[0], str) and keys[0] != "*":
            yield from ((value, keys[1:]) for key, value in named if key == keys[0])
        else:
            yield from ((value, ()) for _, value in named)


def _elements(items: list[ast.expr], keys: Keys) -> Iterator[tuple[ast.expr, Keys]]:
    if keys and isinstance(keys[0], int):
        if -len(items) <= keys[0] < len(items):
            yield items[keys[0]], keys[1:]
        return
    yield from ((item, keys[1:]) for item in items)


def items_of(node: ast.Call, keys: Keys) -> Iterator[tuple[ast.expr, Keys]]:
    """Where the items of `zip`, `enumerate`, `DataLoader` and the like come from, with the keys left to pick."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    arguments = list(node.args)
    arguments += [word.value for word in node.keywords if word.arg in ("dataset", "iterable")]
    if name == "dict":
        wanted = [word for word in node.keywords if not keys or keys[0] in ("*", word.arg)]
        yield from ((word.value, keys[1:]) for word in wanted)
    elif name == "next":
        yield from ((part, ("*", *keys)) for part in arguments[:1])
    elif name == "enumerate":
        if len(keys) < 2 or keys[1] == 1:
            yield from ((part, (*keys[:1], *keys[2:])) for part in arguments[:1])
    elif name == "zip":
        if len(keys) > 1 and isinstance(keys[1], int) and keys[1] < len(arguments):
            yield arguments[keys[1]], (*keys[:1], *keys[2:])
        elif len(keys) < 2:
            yield from ((part, keys) for part in arguments)
    else:
        yield from ((part, keys) for part in arguments[:1])


def content_inputs(node: ast.Call, name: str) -> list[ast.expr]:
    """What a call of a library works on: its receiver, its first argument, and those named like contents."""
    found: list[ast.expr] = []
    if isinstance(node.func, ast.Attribute) and name.startswith("."):
        found.append(node.func.value)
        if node.func.attr in _OWN_CONTENT:
            return found
    if name in ("torch.where", "numpy.where", "map"):
        return [*node.args[1:3]]
    found += node.args[:1]
    found += [word.value for word in node.keywords if word.arg is not None and _CONTENT.fullmatch(word.arg)]
    return [part for part in found if not isinstance(part, ast.Constant)]
