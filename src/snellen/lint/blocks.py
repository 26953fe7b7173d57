"""The blocks of a file: functions, classes, `with` statements, handlers of exceptions; and idle statements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from snellen.core.source import CallSite, ClassBlock, FunctionBlock, Idle, Span, TryBlock, WithBlock
from snellen.lint.text import SourceText

__all__ = ["Blocks", "blocks_of"]


@dataclass(slots=True)
class Blocks:
    """What `blocks_of` finds, each in the order of the text."""

    functions: list[FunctionBlock] = field(default_factory=list)
    classes: list[ClassBlock] = field(default_factory=list)
    tries: list[TryBlock] = field(default_factory=list)
    withs: list[WithBlock] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)


def blocks_of(
    tree: ast.Module, text: SourceText, calls: Sequence[CallSite], name_of: Callable[[ast.expr], str | None]
) -> Blocks:
    """All blocks of a file.

    Args:
        tree: The file.
        text: Its text.
        calls: Its calls.
        name_of: Resolves a dotted name.
    """
    found = Blocks()
    _walk(tree, "", _Reader(text, calls, {call.span: call for call in calls}, name_of), found)
    return found


@dataclass(slots=True)
class _Reader:
    text: SourceText
    calls: Sequence[CallSite]
    by_place: Mapping[Span, CallSite]
    name_of: Callable[[ast.expr], str | None]

    def names(self, nodes: Sequence[ast.expr]) -> tuple[str, ...]:
        """Qualified names; of a call the name of what is called."""
        plain = [node.func if isinstance(node, ast.Call) else node for node in nodes]
        return tuple(self.name_of(node) or self.text.code(node) for node in plain)


def _walk(node: ast.AST, path: str, reader: _Reader, found: Blocks) -> None:
    for child in ast.iter_child_nodes(node):
        inner = path
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = f"{path}.{child.name}".lstrip(".")
            found.functions.append(_function(child, inner, reader))
        elif isinstance(child, ast.ClassDef):
            inner = f"{path}.{child.name}".lstrip(".")
            found.classes.append(ClassBlock(inner, reader.text.span(child), reader.names(child.bases)))
        elif isinstance(child, (ast.Try, ast.TryStar)):
            found.tries.extend(_tries(child, path, reader))
        elif isinstance(child, (ast.With, ast.AsyncWith)):
            found.withs.append(_with(child, path, reader))
        elif isinstance(child, ast.Expr):
            if isinstance(child.value, (ast.Compare, ast.Attribute)):
                kind = "comparison" if isinstance(child.value, ast.Compare) else "attribute"
                found.idle.append(Idle(kind, reader.text.code(child.value), reader.text.span(child), path))
            continue
        elif isinstance(child, ast.expr):
            continue
        _walk(child, inner, reader, found)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str, reader: _Reader) -> FunctionBlock:
    arguments = node.args
    parameters = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    span = reader.text.span(node)
    return FunctionBlock(name, span, tuple(parameters), reader.names(node.decorator_list), reader.text.at(span))


def _with(node: ast.With | ast.AsyncWith, function: str, reader: _Reader) -> WithBlock:
    entered = [item.context_expr for item in node.items]
    calls = [reader.by_place.get(reader.text.span(item)) for item in entered if isinstance(item, ast.Call)]
    known = tuple(call for call in calls if call is not None)
    return WithBlock(reader.names(entered), known, reader.text.span(node), function)


def _tries(node: ast.Try | ast.TryStar, function: str, reader: _Reader) -> list[TryBlock]:
    first, last = reader.text.span(node.body[0]), reader.text.span(node.body[-1])
    guarded = Span(first.start_line, first.start_column, last.end_line, last.end_column)
    tried = tuple(call for call in reader.calls if guarded.contains(call.span))
    found = []
    for handler in node.handlers:
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type] if handler.type else []
        span = reader.text.span(handler)
        found.append(
            TryBlock(
                exceptions=tuple(reader.name_of(item) or reader.text.code(item) for item in caught),
                span=Span(span.start_line, span.start_column, span.start_line, span.start_column + len("except")),
                tried=tried,
                swallows=all(_does_nothing(statement) for statement in handler.body),
                body="\n".join(reader.text.code(statement) for statement in handler.body),
                function=function,
            )
        )
    return found


def _does_nothing(statement: ast.stmt) -> bool:
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, (ast.Pass, ast.Continue))
