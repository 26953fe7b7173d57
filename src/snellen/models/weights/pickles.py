"""Reads a pickle without running it: what it would import and call, and the plain data that it describes.

The instructions are followed on a stack of our own. A call is never made: it becomes a `Call` that holds the name of
what would be called and its arguments. What can be told from them (shapes and dtypes of tensors) is read elsewhere.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from snellen.core.facts.weights import PickleFacts
from snellen.models.weights.trust import is_allowed, is_dangerous

__all__ = ["Call", "Global", "Persistent", "ReadPickle", "read_pickle"]

MAX_OPCODES: Final = 2_000_000
"""Instructions that are followed: a checkpoint of 10,000 tensors has about 400,000."""
_MAX_NAMES = 2_000


@dataclass(frozen=True, slots=True)
class Global:
    """Something that would be imported, `module.name`."""

    name: str


@dataclass(slots=True, eq=False)
class Call:
    """Something that would be called or made.

    Args:
        what: Its full name, `""` when that is itself the result of a call.
        args: Its arguments.
        state: What `BUILD` would set on it: the attributes of an object, `None` without.
        items: What would be put into it as into a dict.
        listed: What would be appended to it as to a list.
    """

    what: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    listed: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Persistent:
    """Something that stands outside of the pickle: for torch a storage."""

    identity: Any


@dataclass(frozen=True, slots=True)
class ReadPickle:
    """A pickle that was read.

    Args:
        value: What it describes, `None` when it could not be read to its end.
        facts: What unpickling it would do.
        end: Number of bytes that it takes.
    """

    value: Any
    facts: PickleFacts
    end: int


class _Mark:
    """Where a tuple, list or dict begins on the stack."""


_MARK = _Mark()
_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PLAIN = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
"""Instructions that put their argument on the stack."""


def read_pickle(data: bytes, *, start: int = 0, max_opcodes: int = MAX_OPCODES) -> ReadPickle:
    """Follow the instructions of one pickle without running any.

    Args:
        data: Bytes that hold it.
        start: Where it begins.
        max_opcodes: So many instructions are followed at most.

    Example:
        >>> import os, pickle
        >>> class Evil:
        ...     def __reduce__(self):
        ...         return os.system, ("echo never printed",)
        >>> facts = read_pickle(pickle.dumps(Evil())).facts
        >>> facts.calls, len(facts.dangerous)
        (1, 1)
    """
    machine = _Machine()
    stream = io.BytesIO(data)
    stream.seek(start)
    problem, value = "it does not end", None
    try:
        with warnings.catch_warnings():
            # A broken file may hold names with odd escapes, of which Python would warn the reader of this message.
            warnings.simplefilter("ignore", DeprecationWarning)
            for opcode, argument, _position in pickletools.genops(stream):
                if machine.opcodes >= max_opcodes:
                    problem = f"only its first {max_opcodes:,} instructions were looked at"
                    break
                machine.step(opcode.name, argument)
                if opcode.name == "STOP":
                    problem, value = "", machine.stack[-1] if machine.stack else None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        problem = f"its instructions are broken: {str(error)[:120] or type(error).__name__}"
    return ReadPickle(value, machine.facts(problem), stream.tell())


class _Machine:
    """The stack machine of the pickle protocol, in which nothing is called."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.imports: dict[str, None] = {}
        self.calls = 0
        self.opcodes = 0
        self.protocol = 0

    def facts(self, problem: str) -> PickleFacts:
        imports = tuple(self.imports)
        return PickleFacts(
            imports,
            tuple(name for name in imports if not is_allowed(name)),
            tuple(name for name in imports if is_dangerous(name)),
            self.calls,
            self.opcodes,
            self.protocol,
            problem,
        )

    def step(self, name: str, argument: Any) -> None:
        self.opcodes += 1
        if name in _PLAIN:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        else:
            # An instruction without a handler neither takes nor gives anything (FRAME, STOP, READONLY_BUFFER).
            _HANDLERS.get(name, _nothing)(self, argument)

    def since_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        items.reverse()
        return items

    def imported(self, name: str) -> Global:
        if len(self.imports) < _MAX_NAMES:
            self.imports.setdefault(name[:300])
        return Global(name[:300])

    def call(self, what: Any, args: Any) -> None:
        self.calls += 1
        given = tuple(args) if isinstance(args, (tuple, list)) else (args,)
        name = what.name if isinstance(what, Global) else ""
        self.stack.append(Call(name, given))

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]


def _nothing(_machine: _Machine, _argument: Any) -> None:
    return


def _global(machine: _Machine, argument: Any) -> None:
    module, _, name = argument.partition(" ")
    machine.stack.append(machine.imported(f"{module}.{name}"))


def _stack_global(machine: _Machine, _argument: Any) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.imported(f"{module}.{name}"))


def _instance(machine: _Machine, argument: Any) -> None:
    args = machine.since_mark()
    module, _, name = argument.partition(" ")
    machine.call(machine.imported(f"{module}.{name}"), args)


def _object(machine: _Machine, _argument: Any) -> None:
    what, *args = machine.since_mark()
    machine.call(what, args)


def _reduce(machine: _Machine, _argument: Any) -> None:
    args, what = machine.stack.pop(), machine.stack.pop()
    machine.call(what, args)


def _new_with_names(machine: _Machine, _argument: Any) -> None:
    machine.stack.pop()
    _reduce(machine, None)


def _build(machine: _Machine, _argument: Any) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    machine.calls += 1
    if isinstance(target, Call) and target.state is None:
        target.state = state


def _extension(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.imported(f"copyreg.extension {argument}"))


def _append(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, Call):
        target.listed.extend(items)
    elif isinstance(target, (list, set)):
        (target.extend if isinstance(target, list) else target.update)(_hashable(items, target))


def _hashable(items: list[Any], target: Any) -> list[Any]:
    return items if isinstance(target, list) else [item for item in items if isinstance(item, (str, int, float, bytes))]


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    into = target.items if isinstance(target, Call) else target if isinstance(target, dict) else {}
    for key, value in zip(items[::2], items[1::2], strict=False):
        into[key if isinstance(key, (str, int, float, bytes, bool, type(None))) else repr(type(key))] = value


def _dict(machine: _Machine, _argument: Any) -> None:
    items = machine.since_mark()
    machine.stack.append({})
    _set_items(machine, items)


def _set_item(machine: _Machine, _argument: Any) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _set_items(machine, [key, value])


def _append_one(machine: _Machine, _argument: Any) -> None:
    item = machine.stack.pop()
    _append(machine, [item])


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    def make(machine: _Machine, _argument: Any) -> None:
        items = [machine.stack.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return make


def _pop_mark(machine: _Machine, _argument: Any) -> None:
    machine.since_mark()


def _frozen_set(machine: _Machine, _argument: Any) -> None:
    items = machine.since_mark()
    machine.stack.append(set(_hashable(items, set())))


def _protocol(machine: _Machine, argument: Any) -> None:
    machine.protocol = int(argument)


_HANDLERS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "PROTO": _protocol,
    "MARK": lambda machine, _: machine.stack.append(_MARK),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": _pop_mark,
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_SET": lambda machine, _: machine.stack.append(set()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "LIST": lambda machine, _: machine.stack.append(machine.since_mark()),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "FROZENSET": _frozen_set,
    "DICT": _dict,
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: _set_items(machine, machine.since_mark()),
    "APPEND": _append_one,
    "APPENDS": lambda machine, _: _append(machine, machine.since_mark()),
    "ADDITEMS": lambda machine, _: _append(machine, machine.since_mark()),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _instance,
    "OBJ": _object,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_with_names,
    "BUILD": _build,
    "EXT1": _extension,
    "EXT2": _extension,
    "EXT4": _extension,
    "PERSID": lambda machine, argument: machine.stack.append(Persistent(argument)),
    "BINPERSID": lambda machine, _: machine.stack.append(Persistent(machine.stack.pop())),
    "NEXT_BUFFER": lambda machine, _: machine.stack.append(b""),
    "GET": lambda machine, argument: machine.stack.append(machine.memo[int(argument)]),
    "BINGET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "LONG_BINGET": lambda machine, argument: machine.stack.append(machine.memo[argument]),
    "PUT": lambda machine, argument: machine.remember(int(argument)),
    "BINPUT": lambda machine, argument: machine.remember(argument),
    "LONG_BINPUT": lambda machine, argument: machine.remember(argument),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
}
