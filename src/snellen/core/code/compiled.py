"""Which functions of a file are handed to `torch.compile`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.calls import Argument, CallSite, Origin
from snellen.core.source import FunctionBlock, SourceFile

__all__ = ["Compiled", "compiled_functions", "compiles"]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A function of the file that is compiled.

    Args:
        function: The function; of a module its `forward`.
        call: Where it is compiled; `None` for a bare decorator.
        fullgraph: The argument that forbids to split the graph, when it is given and true.
    """

    function: FunctionBlock
    call: CallSite | None = None
    fullgraph: Argument | None = None


def compiles(file: SourceFile) -> bool:
    """Whether anything in a file is compiled."""
    if "compile" not in file.text:
        return False
    decorated = any("torch.compile" in block.decorators for block in file.functions)
    return decorated or any(_is_compile(call) for call in file.calls)


def compiled_functions(file: SourceFile) -> Iterator[Compiled]:
    """Functions under the decorator, functions that are passed, and the `forward` of modules that are."""
    by_name = {block.name: block for block in file.functions}
    for call in file.calls:
        if not _is_compile(call):
            continue
        block = _decorated(file, call) or _passed(call, by_name)
        if block is not None:
            yield Compiled(block, call, _fullgraph(call))
    for block in file.functions:
        if "torch.compile" in block.decorators and not any(_decorated(file, call) is block for call in file.calls):
            yield Compiled(block)


def _is_compile(call: CallSite) -> bool:
    if call.name == "torch.compile":
        return True
    if call.name == "functools.partial" and call.arguments:
        return call.arguments[0].code == "torch.compile"
    # `model.compile()`; the `compile` of a pattern is on something else.
    return call.name == ".compile" and bool(_class_of(call.receiver_origin))


_MOVES = frozenset({"cuda", "to", "cpu", "float", "half", "bfloat16", "double", "requires_grad_"})


def _class_of(origin: Origin | None) -> str:
    """The class of an object that was made by its name and since then only moved, `""` for anything else."""
    while origin is not None and origin.name in (".eval", ".train"):
        origin = origin.call.receiver_origin
    if origin is None or not set(origin.through) <= _MOVES:
        return ""
    return origin.name if origin.name.rpartition(".")[2][:1].isupper() else ""


def _fullgraph(call: CallSite) -> Argument | None:
    given = next((argument for argument in call.arguments if argument.name == "fullgraph"), None)
    return given if given is not None and given.value is True else None


def _decorated(file: SourceFile, call: CallSite) -> FunctionBlock | None:
    """The function that a call is the decorator of: the next one, when nothing is passed."""
    if call.name == ".compile" or (call.name == "torch.compile" and call.argument(0, "model") is not None):
        return None
    below = [block for block in file.functions if block.span.start > call.span.start]
    first = min(below, key=lambda block: block.span.start, default=None)
    wanted = "torch.compile" if call.name == "torch.compile" else "functools.partial"
    return first if first is not None and wanted in first.decorators else None


def _passed(call: CallSite, by_name: dict[str, FunctionBlock]) -> FunctionBlock | None:
    if call.name == ".compile":
        return by_name.get(f"{_class_of(call.receiver_origin)}.forward")
    given = call.argument(0, "model") if call.name == "torch.compile" else None
    if given is None:
        return None
    owner = call.function.rpartition(".")[0]
    named = given.code.replace("self.", f"{owner}.", 1) if given.code.startswith("self.") else given.code
    return by_name.get(named) or by_name.get(f"{_class_of(given.origin)}.forward")
