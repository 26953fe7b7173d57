"""Data sets, and the loaders that draw from them, as far as the text of a project settles them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.finding import Evidence, Location
from snellen.core.source import Argument, CallSite, ClassBlock, FunctionBlock, Origin, SourceFile

__all__ = [
    "Loader",
    "behind",
    "dataset_classes",
    "in_workers",
    "loader_behind",
    "loaders",
    "parallel_loader",
    "reachable",
    "spawns",
]

_LOADERS = frozenset({"DataLoader", "torch.utils.data.DataLoader", "torch.utils.data.dataloader.DataLoader"})
_FOLDERS = frozenset({"DatasetFolder", "ImageFolder", "CocoDetection"})
_FOREIGN = ("datasets.", "tensorflow.", "tf.", "tensorflow_datasets.")
_WRAPPERS = frozenset({"enumerate", "zip", "iter", "next", "reversed", "itertools.islice", "itertools.chain"})
_PARTS = frozenset({"Subset", "ConcatDataset", "ChainDataset", "random_split"})
_WORKER_METHODS = ("__getitem__", "__getitems__", "__iter__")
_SPAWNS = re.compile(
    r"(?:set_start_method|get_context)\(\s*['\"](?:spawn|forkserver)|multiprocessing_context\s*=\s*['\"](?:spawn|fork"
    r"server)"
)
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Loader:
    """One place where a `DataLoader` is made.

    Args:
        call: The call.
        file: Its file.
        workers: Its `num_workers`, `None` when the text does not settle it.
    """

    call: CallSite
    file: SourceFile
    workers: int | None

    @property
    def parallel(self) -> bool:
        """Whether it has, or may have, worker processes."""
        return self.workers != 0

    def argument(self, name: str) -> Argument | None:
        """An argument of the loader by its name."""
        return self.call.argument(_POSITIONS.get(name, 99), name)

    @property
    def dataset(self) -> str | None:
        """The last part of the name of the class that it draws from, `None` when that is not known.

        A part or a concatenation of a data set counts as the data set.
        """
        argument = self.argument("dataset")
        origin = argument.origin if argument is not None else None
        for _ in range(_DEEPEST):
            if origin is None:
                return None
            name = origin.name.rpartition(".")[2]
            if name not in _PARTS or not origin.call.arguments:
                return name if name[:1].isupper() else None
            origin = origin.call.arguments[0].origin
        return None

    @property
    def evidence(self) -> Evidence:
        """The call as a fact that a finding rests on."""
        place = Location(self.file.path, self.call.span.start_line, self.call.span.start_column + 1)
        return Evidence(" ".join(self.call.code.split()), place)

    def may_draw_from(self, name: str) -> bool:
        """Whether it draws from a class, or from something that is not known."""
        return self.dataset in (None, name)


_ORDER = (
    *("dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "num_workers", "collate_fn", "pin_memory"),
    *("drop_last", "timeout", "worker_init_fn", "multiprocessing_context", "generator"),
)
_POSITIONS = {name: position for position, name in enumerate(_ORDER)}


def loaders(file: SourceFile, *, project: bool = True) -> Iterator[Loader]:
    """The loaders made in a file and, unless told otherwise, in the other files of its project."""
    for part in (file, *(file.elsewhere if project else ())):
        if "DataLoader" in part.text:
            for call in part.calls:
                if call.name in _LOADERS:
                    yield Loader(call, part, _workers(part, file, call))


def parallel_loader(file: SourceFile, name: str) -> Loader | None:
    """A loader of the project with workers that draws from the class of that name: for sure before perhaps.

    An empty name stands for any class.
    """
    found = [loader for loader in loaders(file) if loader.parallel and (not name or loader.may_draw_from(name))]
    return next((loader for loader in found if loader.dataset == name), next(iter(found), None))


def _workers(part: SourceFile, file: SourceFile, call: CallSite) -> int | None:
    argument = call.argument(_POSITIONS["num_workers"], "num_workers")
    if argument is None:
        return None if "**" in call.code else 0
    if isinstance(argument.value, int):
        return int(argument.value)
    name = argument.code.rpartition(".")[2]
    if not name.isidentifier():
        return None
    block = part.function_around(call.span)
    default = re.search(rf"\b{name}\s*(?::\s*int\s*)?=\s*(\d{{1,3}})\s*[,)\n]", block.code) if block else None
    if default and name in (block.parameters if block else ()):
        return int(default[1])
    return next((number for other in (part, file) for number in _defaults(other, name)), None)


def _defaults(file: SourceFile, name: str) -> Iterator[int]:
    """What an option of the command line, or a constant, of that name is set to."""
    for call in file.calls_to(".add_argument"):
        default = call.argument(99, "default")
        options = {str(a.value).lstrip("-").replace("-", "_") for a in call.arguments if a.name is None}
        if name in options and default is not None and isinstance(default.value, int):
            yield int(default.value)
    for item in file.assignments:
        if item.target.rpartition(".")[2] == name and isinstance(item.value, int):
            yield int(item.value)


def dataset_classes(file: SourceFile) -> Iterator[ClassBlock]:
    """Classes that a loader of torch draws samples from."""
    methods = {function.name for function in file.functions}
    for block in file.classes:
        bases = [base.partition("[")[0] for base in block.bases]
        named = [base for base in bases if base.endswith("Dataset") or base.rpartition(".")[2] in _FOLDERS]
        draws = any(f"{block.name}.{method}" in methods for method in _WORKER_METHODS)
        by_name = not named and block.name.endswith("Dataset") and "torch" in file.text
        if draws and (by_name or any(not base.startswith(_FOREIGN) for base in named)):
            yield block


def in_workers(file: SourceFile, block: ClassBlock) -> tuple[FunctionBlock, ...]:
    """The methods of a data set that run in a worker: those that give samples, and what they call of their own."""
    return reachable(file, block, _WORKER_METHODS)


def reachable(file: SourceFile, block: ClassBlock, first: tuple[str, ...]) -> tuple[FunctionBlock, ...]:
    """Some methods of a class, and the methods of the same class that they call, directly or not."""
    own = {f.name.removeprefix(f"{block.name}."): f for f in file.functions if f.name.startswith(f"{block.name}.")}
    found: dict[str, FunctionBlock] = {}
    waiting = [name for name in first if name in own]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = own[name]
            waiting.extend(called for called in re.findall(r"\bself\.(\w+)\(", own[name].code) if called in own)
    return tuple(found.values())


def spawns(file: SourceFile) -> bool:
    """Whether the project starts its workers anew instead of forking them."""
    return any(_SPAWNS.search(part.text) for part in (file, *file.elsewhere))


def behind(origin: Origin | None) -> Origin | None:
    """Where a value came from, seen through `enumerate`, `zip`, `iter` and progress bars."""
    for _ in range(_DEEPEST):
        if origin is None or not (origin.name in _WRAPPERS or origin.name.rpartition(".")[2] in ("tqdm", "track")):
            return origin
        inner = next((argument.origin for argument in origin.call.arguments if argument.origin is not None), None)
        origin = None if inner is None else Origin(inner.name, inner.call, inner.through + origin.through)
    return None


def loader_behind(origin: Origin | None) -> CallSite | None:
    """The call that made the loader that a value comes from, if it comes from one."""
    found = behind(origin)
    return found.call if found is not None and found.name in _LOADERS else None
