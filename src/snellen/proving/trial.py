"""One step on the CPU with a function before and after a fix; run as a process of its own by `snellen.proving.prove`.

The inputs are made up from the names of the parameters. What the function takes before the fix is what counts: on those
inputs the results after it must be the same.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
import io
import json
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

__all__ = ["Trial", "compare"]

_SHAPES = ((2, 3, 32, 32), (2, 4, 8, 8), (2, 8, 8), (4, 8), (8,))
_MOST = 3
"""Shapes that a function takes; more tell nothing new."""
_LAYERS = 12
_WHOLE = re.compile(r"^(?:n|h|w|k|height|width|size|side|dim|patch|stride|batch|num_.*|.*_(?:size|dim|count))$")
_FRACTION = re.compile(r"^(?:p|lr|eps|alpha|beta|gamma|tau|scale|temperature|threshold|weight_decay|momentum)$")
_LABELS = re.compile(r"label|target|^y$|index|indices")
_MASK = re.compile(r"mask|valid|keep|padding")
_WHOLES = (100, 30, 224)
_FRACTIONS = (0.5, 0.1, 1.0)
_CLASSES = 3
_MAKERS = frozenset(
    (
        "eye",
        "zeros",
        "ones",
        "full",
        "arange",
        "linspace",
        "tensor",
        "array",
        "rand",
        "randn",
        "float",
        "int",
        "sqrt",
        "log",
    )
)
"""Calls at the level of a module that are run, because all they do is to make a value."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How one call ended: its result, or the exception that it raised."""

    result: object = None
    error: str = ""

    @property
    def finite(self) -> bool:
        """Whether it ended well and every number of the result is finite."""
        return not self.error and all(
            bool(torch.isfinite(t).all()) for t in _tensors(self.result) if t.is_floating_point()
        )


def compare(before: Callable[..., object], after: Callable[..., object]) -> tuple[str, str]:
    """Call both with the same inputs; the verdict and what it rests on.

    Args:
        before: The function as it is.
        after: The function as it would be.

    Returns:
        `same`, `mended`, `changed` or `cannot tell`, and the reason.

    Example:
        >>> compare(lambda x: x.view(-1), lambda x: x.reshape(-1))[0]
        'same'
    """
    told: list[str] = []
    refused = ""
    mended = ""
    for position, shape in enumerate(dict.fromkeys((*_shapes_of(before), *_SHAPES))):
        if len(told) >= _MOST:
            break
        given = _arguments(before, shape, position)
        if isinstance(given, str):
            return "cannot tell", given
        first = _call(before, given)
        if first.error:
            second = _call(after, given)
            mended = mended or (f"{_shown(given)}: {first.error}; after it a result" if second.finite else "")
            refused = refused or f"{_shown(given)}: {first.error}"
            continue
        second = _call(after, given)
        difference = _difference(first, second)
        if difference:
            return "changed", f"{_shown(given)}: {difference}"
        told.append(_shown(given))
        mended = mended or _in_half(before, after, given)
    if mended:
        same = f"; the same on {', '.join(told)} in float32" if told else ""
        return "mended", f"{mended}{same}"
    if told:
        return "same", f"equal results on {', '.join(told)}"
    return "cannot tell", f"no made-up input was taken; {refused}"


def _shapes_of(function: Callable[..., object]) -> Iterator[tuple[int, ...]]:
    """Shapes that the first layers of a method's module take."""
    owner = getattr(function, "__self__", None)
    if not isinstance(owner, torch.nn.Module):
        return
    for layer in list(owner.modules())[:_LAYERS]:
        if isinstance(layer, torch.nn.Linear):
            yield from ((2, 16, layer.in_features), (4, layer.in_features))
        elif isinstance(layer, torch.nn.Conv2d):
            yield 2, layer.in_channels, 32, 32


def _in_half(before: Callable[..., object], after: Callable[..., object], given: Mapping[str, object]) -> str:
    """What was mended in float16, `""` when nothing was."""
    half = {name: v.half() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for name, v in given.items()}
    first, second = _call(before, half), _call(after, half)
    if second.finite and not first.finite:
        return f"float16: before it {first.error or 'NaN or Inf'}, after it a finite result"
    return ""


def _arguments(function: Callable[..., object], shape: tuple[int, ...], position: int) -> dict[str, object] | str:
    """Values for the parameters without default, or why there are none."""
    generator = torch.Generator().manual_seed(position)
    given: dict[str, object] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if (
            parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            or parameter.default is not parameter.empty
        ):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            return "it has parameters that can only be given by position"
        given[name] = _value(name, str(parameter.annotation), shape, position, generator)
    return given


def _value(name: str, annotation: str, shape: tuple[int, ...], position: int, generator: torch.Generator) -> object:
    name = name.lower()
    if "int" in annotation or _WHOLE.match(name):
        return _WHOLES[position % len(_WHOLES)]
    if "float" in annotation or _FRACTION.match(name):
        return _FRACTIONS[position % len(_FRACTIONS)]
    if _MASK.search(name):
        return torch.rand(shape, generator=generator) > 0.5
    if _LABELS.search(name):
        return torch.randint(0, _CLASSES, (shape[0], *shape[2:]), generator=generator)
    return torch.randn(shape, generator=generator)


def _call(function: Callable[..., object], given: Mapping[str, object]) -> Trial:
    torch.manual_seed(0)
    try:
        return Trial(function(**copy.deepcopy(dict(given))))
    except Exception as error:  # noqa: BLE001 - whatever the function raises is its result
        return Trial(error=f"{type(error).__name__}: {error}".partition("\n")[0][:160])


def _difference(first: Trial, second: Trial) -> str:
    if second.error:
        return f"before it a result, after it {second.error}"
    ours, theirs = list(_leaves(first.result)), list(_leaves(second.result))
    if len(ours) != len(theirs):
        return f"{len(ours)} values before, {len(theirs)} after"
    for before, after in zip(ours, theirs, strict=True):
        if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
            if before.shape != after.shape or before.dtype != after.dtype:
                return f"{_kind(before)} before, {_kind(after)} after"
            if not torch.equal(torch.nan_to_num(before), torch.nan_to_num(after)):
                return f"largest difference {float((before.double() - after.double()).abs().max()):.3g}"
        elif before != after:
            return f"{before!r} before, {after!r} after"[:160]
    return ""


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, (torch.Tensor, int, float, str, bool, type(None))):
        yield value
    else:
        # Objects compare by identity, which says nothing: their kind does.
        yield type(value).__name__


def _tensors(value: object) -> Iterator[torch.Tensor]:
    return (leaf for leaf in _leaves(value) if isinstance(leaf, torch.Tensor))


def _kind(tensor: torch.Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype).removeprefix('torch.')}"


def _shown(given: Mapping[str, object]) -> str:
    return (
        ", ".join(f"{name}: {_kind(v) if isinstance(v, torch.Tensor) else v}" for name, v in given.items()) or "nothing"
    )


class _OnlyDefinitions(ast.NodeTransformer):
    """Keeps imports, constants, functions and classes of a module; what would run when it is imported goes."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        node.body = [one for one in node.body if self._kept(one)]
        return node

    @staticmethod
    def _kept(node: ast.stmt) -> bool:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            return all(_is_harmless(part) for part in ast.walk(node) if isinstance(part, ast.Call))
        return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))


def _is_harmless(call: ast.Call) -> bool:
    """Whether a call only makes a value: `torch.eye(16)`, `float("inf")`."""
    owner, _, name = ast.unparse(call.func).rpartition(".")
    return name in _MAKERS and owner in ("torch", "np", "numpy", "math", "")


def _load(text: str, path: str, name: str) -> Callable[..., object]:
    """The function or bound method of that name, from a module's definitions."""
    tree = _OnlyDefinitions().visit(ast.parse(text))
    space: dict[str, Any] = {"__name__": Path(path).stem, "__file__": path}
    for statement in tree.body:
        missing = contextlib.suppress(ImportError) if isinstance(statement, (ast.Import, ast.ImportFrom)) else None
        with missing or contextlib.nullcontext():
            exec(compile(ast.Module([statement], []), path, "exec"), space)  # noqa: S102 - asked for by --prove
    owner, _, method = name.rpartition(".")
    if not owner:
        return space[name]  # type: ignore[no-any-return]
    torch.manual_seed(0)
    return getattr(space[owner](), method)  # type: ignore[no-any-return]


def main() -> None:
    """Read a case as JSON from stdin, print the verdict as JSON."""
    case = json.load(sys.stdin)
    sys.path.insert(0, str(Path(case["path"]).parent))
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            functions = [_load(case[moment], case["path"], case["function"]) for moment in ("before", "after")]
            verdict, text = compare(functions[0], functions[1])
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything
        verdict, text = "cannot tell", f"{case['function']} could not be made: {type(error).__name__}: {error}"[:300]
    print(json.dumps({"verdict": verdict, "text": text}))  # noqa: T201 - what the parent process reads


if __name__ == "__main__":
    main()
