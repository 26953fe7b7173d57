"""The way of a value through a project: from where it is used back to the calls, names and constants it was made from.

A rule asks `Flow(file).trails(argument, call, starts)` and is given one `Trail` for each way that the text allows:
through names, attributes, items of lists and loaders, and functions of the project.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from snellen.core.calls import UNKNOWN, Argument, Assignment, CallSite, Span
from snellen.core.code.expressions import (
    Keys,
    beside,
    constant_of,
    content_inputs,
    items_of,
    operator_of,
    parsed,
    picked,
    place_of,
    text_of,
)
from snellen.core.code.trails import WRITTEN, Given, Names, Step, Trail, parts_of, targets_of
from snellen.core.source import FunctionBlock, Loop, SourceFile

__all__ = ["Flow", "Starts", "Step", "Trail"]

_MOST_PARTS = 2500
_MOST_IN_ALL = 150_000
_DEEPEST = 40
_MOST_CALLERS = 8
_HANDING_ON = frozenset(
    (
        *("next", "iter", "list", "tuple", "tqdm", "reversed", "sorted", "cycle", "islice", "track"),
        *("enumerate", "zip", "DataLoader", "Subset", "ConcatDataset", "random_split", "dict"),
    )
)
_PLAIN = frozenset({"item", "append", "[]="})

Starts = Callable[[CallSite], bool]


@dataclass(frozen=True, slots=True)
class _At:
    """Where an expression stands, what is wanted of it, and what is known there.

    Args:
        file: Its file.
        code: The expression as written, and
        span: where.
        function: Dotted path of the function around it.
        conditions: The tests around it.
        keys: What is taken from its value, first comes first.
        inner: Variables of comprehensions: name, what is looped over, where that stands.
        called: The calls that led into functions, so that their parameters are the arguments of these very calls.
        seen: Statements on the way here, so that loops end.
    """

    file: SourceFile
    code: str
    span: Span
    function: str
    conditions: tuple[str, ...] = ()
    keys: Keys = ()
    inner: tuple[tuple[str, ast.expr, _At], ...] = ()
    called: tuple[tuple[str, CallSite, _At], ...] = ()
    seen: frozenset[Span] = frozenset()

    def taking(self, keys: Keys) -> _At:
        """The same place, something else wanted."""
        return self if keys == self.keys else replace(self, keys=keys)


class Flow:
    """Answers where values of one file come from; also through functions of the other files of its project."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self._names: dict[str, Names] = {}
        self._modules = {_stem(other): other for other in parts_of(file)[1:]}
        self._starts: Starts = bool
        self._left = 0
        self._left_in_all = _MOST_IN_ALL

    def trails(
        self, of: Argument | Assignment, around: CallSite | None, starts: Starts, keys: Keys = ()
    ) -> list[Trail]:
        """All ways of a value.

        Args:
            of: The value: an argument of a call, or the right side of an assignment or `return`.
            around: The call that the argument belongs to.
            starts: At which calls a way begins; others are passed through to what they were given.
            keys: What is wanted of it: `(1, "boxes")` for the boxes of `return image, {"boxes": boxes}`.
        """
        place = of if isinstance(of, Assignment) else around
        conditions = place.conditions if place else ()
        return self._all(of.code, of.span, place.function if place else "", conditions, starts, keys)

    def receiver(self, call: CallSite, starts: Starts) -> list[Trail]:
        """All ways of what a method is called on, or of the object that is called."""
        code = call.receiver if call.receiver is not None else call.code.partition("(")[0]
        return self._all(code, call.span, call.function, call.conditions, starts)

    def _all(
        self, code: str, span: Span, function: str, conditions: tuple[str, ...], starts: Starts, keys: Keys = ()
    ) -> list[Trail]:
        self._starts, self._left = starts, _MOST_PARTS
        node = parsed(code)
        try:
            return (
                [] if node is None else list(self._walk(node, _At(self.file, code, span, function, conditions, keys)))
            )
        except RecursionError:
            # Sums of a thousand terms, lists of lists of lists: no picture is made that way.
            return []

    def names(self, file: SourceFile) -> Names:
        """The names of a file of the project."""
        if file.path not in self._names:
            self._names[file.path] = Names(file)
        return self._names[file.path]

    # -- expressions ------------------------------------------------------------------------------------------------

    def _walk(self, node: ast.expr, at: _At) -> Iterator[Trail]:
        self._left -= 1
        self._left_in_all -= 1
        if self._left <= 0 or self._left_in_all <= 0 or len(at.seen) > _DEEPEST:
            return
        if isinstance(node, ast.Name):
            yield from self._name(node.id, node, at)
        elif isinstance(node, ast.Call):
            yield from self._call(node, at)
        elif isinstance(node, ast.Attribute):
            yield from self._attribute(node, at)
        elif isinstance(node, ast.Constant):
            yield Trail(_step("constant", node, at))
        elif isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)):
            inner = list(at.inner)
            for generator in node.generators:
                targets = targets_of(ast.unparse(generator.target))
                inner += [(name, generator.iter, at.taking(("*", *keys))) for name, keys in targets]
            item = node.value if isinstance(node, ast.DictComp) else node.elt
            yield from self._walk(item, replace(at, inner=tuple(inner), keys=at.keys[1:]))
        else:
            yield from self._parts(node, at)

    def _parts(self, node: ast.expr, at: _At) -> Iterator[Trail]:
        operator = operator_of(node)
        for part, keys in picked(node, at.keys):
            other = beside(part, node)
            value = UNKNOWN if other is None else self._constant(other, at)
            for trail in self._walk(part, at.taking(keys)):
                yield _after(trail, _step(operator, node, at, value=value)) if operator else trail

    def _attribute(self, node: ast.Attribute, at: _At) -> Iterator[Trail]:
        written = ast.unparse(node)
        if written in self.names(at.file).assigned:
            yield from self._name(written, node, at)
            return
        for trail in self._walk(node.value, at.taking(())):
            yield _after(trail, _step(f".{node.attr}", node, at))

    def _call(self, node: ast.Call, at: _At) -> Iterator[Trail]:
        call = self.names(at.file).calls.get(place_of(node, at.code, at.span))
        step = _step(call.name if call else ast.unparse(node.func), node, at, call)
        if call is not None and self._starts(call):
            yield Trail(step)
            return
        own = self._own(call, at) if call is not None else None
        if call is not None and own is not None:
            for trail in self._returns(*own, call, at):
                yield _after(trail, replace(step, plain=True))
            return
        handing = step.method in _HANDING_ON
        inputs = [*items_of(node, at.keys)] if handing else [(part, ()) for part in content_inputs(node, step.name)]
        nothing = True
        for part, keys in inputs:
            for trail in self._walk(part, at.taking(keys)):
                nothing = False
                yield _after(trail, replace(step, plain=handing))
        if nothing:
            yield Trail(step)

    def _constant(self, node: ast.expr, at: _At) -> object:
        value = constant_of(node)
        if value is not UNKNOWN or not isinstance(node, (ast.Name, ast.Attribute)):
            return value
        given = self._given(ast.unparse(node), at)
        values = [item.value for item, keys in given if isinstance(item, Assignment) and not keys]
        return values[0] if len(values) == len(given) == 1 else UNKNOWN

    # -- functions of the project -----------------------------------------------------------------------------------

    def _own(self, call: CallSite, at: _At) -> tuple[SourceFile, FunctionBlock] | None:
        """The project's function that a call runs, or that is run when an item is taken from what the call made."""
        module = call.name.split(".")[-2] if "." in call.name.lstrip(".") else ""
        for file in (at.file, *([self._modules[module]] if module in self._modules else ())):
            names, last = self.names(file), call.method
            if last in names.classes:
                block = names.functions.get(f"{names.classes[last]}.__getitem__") if at.keys else None
            elif last == "forward":
                block = names.functions.get(f"{module}.__call__")
            elif call.receiver == "self":
                block = names.functions.get(f"{at.function.rpartition('.')[0]}.{last}")
            else:
                block = names.function(last) if call.receiver_origin is None else None
                block = None if block is not None and "." in block.name and call.receiver is None else block
            if block is not None:
                return file, block
        return None

    def _returns(self, file: SourceFile, block: FunctionBlock, call: CallSite, at: _At) -> Iterator[Trail]:
        if block.span in at.seen:
            return
        keys = at.keys[1:] if block.name.endswith(".__getitem__") else at.keys
        called, seen = (*at.called, (block.name, call, at)), at.seen | {block.span}
        for item, _ in self.names(file).assigned.get("return", ()):
            node = parsed(item.code) if isinstance(item, Assignment) and item.function == block.name else None
            if node is not None and isinstance(item, Assignment):
                inside = _At(file, item.code, item.span, item.function, item.conditions, keys, called=called, seen=seen)
                yield from self._walk(node, inside)

    def _callers(self, block: FunctionBlock, at: _At) -> list[tuple[CallSite, _At]]:
        known = [(call, outside) for function, call, outside in reversed(at.called) if function == block.name]
        if known:
            return known[:1]
        owner, _, last = block.name.rpartition(".")
        special = {"__init__": owner.rpartition(".")[2], "__call__": f"{owner}.forward", "forward": f"{owner}.forward"}
        wanted = special.get(last, last)
        found = []
        users = [other for other in self._modules.values() if _stem(self.file) in other.text]
        for file in (at.file, *(users if at.file is self.file else ())):
            calls = [call for call in file.calls if call.name == wanted or call.name.endswith(f".{wanted}")]
            found += [(call, _At(file, call.code, call.span, call.function, seen=at.seen)) for call in calls]
        return found[:_MOST_CALLERS]

    # -- names ------------------------------------------------------------------------------------------------------

    def _name(self, name: str, node: ast.expr, at: _At) -> Iterator[Trail]:
        nothing = True
        for trail in self._bound(name, node, at):
            nothing = False
            yield replace(trail, names=(name, *trail.names))
        if nothing:
            yield Trail(_step("name", node, at), names=(name,))

    def _bound(self, name: str, node: ast.expr, at: _At) -> Iterator[Trail]:
        for inner, header, outside in reversed(at.inner):
            if inner == name:
                yield from self._item(header, node, outside.taking((*outside.keys, *at.keys)), at)
                return
        since: tuple[Step, ...] = ()
        whole = False
        for item, keys in self._given(name, at):
            if item.span not in at.seen:
                for trail in (
                    self._looped(item, node, keys, at)
                    if isinstance(item, Loop)
                    else self._assigned(name, item, keys, at)
                ):
                    yield replace(trail, steps=(*trail.steps, *since))
            if isinstance(item, Assignment) and item.operator:
                since = (self._in_place(item, at), *since)
            else:
                whole = whole or keys != WRITTEN
        if not whole:
            for trail in (*self._entered(name, at), *self._parameter(name, at)):
                yield replace(trail, steps=(*trail.steps, *since))
        yield from self._put_in(name, at)

    def _given(self, name: str, at: _At) -> list[Given]:
        return self.names(at.file).given(name, at.function, at.span, at.conditions)

    def _at(self, code: str, span: Span, function: str, conditions: tuple[str, ...], keys: Keys, at: _At) -> _At:
        """Another place of the same file, reached from `at`."""
        return _At(at.file, code, span, function, conditions, keys, called=at.called, seen=at.seen | {span})

    def _item(self, header: ast.expr, node: ast.expr, start: _At, at: _At) -> Iterator[Trail]:
        for trail in self._walk(header, start):
            yield _after(trail, _step("item", node, at))

    def _looped(self, loop: Loop, node: ast.expr, keys: Keys, at: _At) -> Iterator[Trail]:
        header = parsed(loop.header)
        if header is not None:
            start = self._at(loop.header, _header_span(loop, at.file), loop.function, (), ("*", *keys, *at.keys), at)
            yield from self._item(header, node, replace(start, seen=start.seen | {loop.span}), at)

    def _assigned(self, name: str, item: Assignment, keys: Keys, at: _At) -> Iterator[Trail]:
        value = parsed(item.code)
        if value is None:
            return
        wanted = at.keys[1:] if keys == WRITTEN else (*keys, *at.keys)
        begins = item.call is not None and self._starts(item.call)
        same = _same_name(name, value) if keys and keys != WRITTEN and not begins else None
        start = self._at(item.code, item.span, item.function, item.conditions, at.keys if same else wanted, at)
        done = "[]=" if keys == WRITTEN else f"{item.operator}=" if item.operator else ""
        for trail in self._walk(same or value, start):
            yield _after(trail, _step(done, value, start)) if done else trail

    def _in_place(self, item: Assignment, at: _At) -> Step:
        """`image /= 255` as a step of what `image` was before."""
        value = parsed(item.code)
        known = UNKNOWN if value is None else self._constant(value, replace(at, span=item.span))
        code = f"{item.target} {item.operator}= {item.code}"
        return Step(f"{item.operator}=", code, item.span, at.file.path, value=known)

    def _parameter(self, name: str, at: _At) -> Iterator[Trail]:
        block = self.names(at.file).functions.get(at.function)
        if block is None or name not in block.parameters or (block.span in at.seen and not at.called):
            return
        method = "." in block.name and block.parameters[0] in ("self", "cls")
        position = block.parameters.index(name) - method
        for call, outside in self._callers(block, at) if position >= 0 else ():
            argument = call.argument(position, name)
            value = parsed(argument.code) if argument is not None else None
            if argument is not None and value is not None:
                start = self._at(argument.code, argument.span, call.function, call.conditions, at.keys, outside)
                yield from self._walk(value, replace(start, inner=outside.inner, seen=at.seen | {block.span}))

    def _entered(self, name: str, at: _At) -> Iterator[Trail]:
        """The call of `with call(...) as name`."""
        for span, call in self.names(at.file).entered.get(name, ()):
            value = parsed(call.code) if span.start <= at.span.start < span.end and call.span not in at.seen else None
            if value is not None:
                yield from self._walk(value, self._at(call.code, call.span, call.function, (), at.keys, at))

    def _put_in(self, name: str, at: _At) -> Iterator[Trail]:
        """What was put into a list of that name."""
        for call in self.names(at.file).growing.get(name, ()):
            last = call.arguments[-1]
            same = call.function == at.function or "." in name or not call.function
            value = parsed(last.code) if same and call.span not in at.seen else None
            if value is not None:
                start = self._at(last.code, last.span, call.function, call.conditions, at.keys[1:], at)
                for trail in self._walk(value, replace(start, seen=start.seen | {call.span})):
                    yield _after(trail, _step("append", value, start))


def _step(name: str, node: ast.expr, at: _At, call: CallSite | None = None, value: object = UNKNOWN) -> Step:
    span = place_of(node, at.code, at.span)
    return Step(name, text_of(node, at.code), span, at.file.path, call, value, name in _PLAIN)


def _after(trail: Trail, step: Step) -> Trail:
    return replace(trail, steps=(*trail.steps, step))


def _stem(file: SourceFile) -> str:
    return file.path.replace("\\", "/").rpartition("/")[2].removesuffix(".py")


def _same_name(name: str, value: ast.expr) -> ast.expr | None:
    """Of `image, mask = transform(image, mask)` the argument that the name was, if there is one."""
    if isinstance(value, ast.Call) and len(value.args) > 1:
        return next((arg for arg in value.args if isinstance(arg, ast.Name) and arg.id == name), None)
    return None


def _header_span(loop: Loop, file: SourceFile) -> Span:
    """Where the header of a loop starts, when that is on its first line."""
    line = file.text.split("\n")[loop.span.start_line - 1]
    column = line.find(loop.header.partition("\n")[0], line.find(" in ", loop.span.start_column) + 1)
    return Span(loop.span.start_line, max(column, 0), loop.span.start_line, max(column, 0))
