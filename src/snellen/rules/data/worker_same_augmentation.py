"""All loader workers draw the same random numbers, so that augmentation repeats itself.

What happens
------------
Nothing is raised. Every crop, flip or noise is drawn once for each worker in the same way, so that the data set is
augmented `num_workers` times less than it looks; without `persistent_workers` the next epoch begins with the same
numbers again.

Why
---
A worker is a copy of the training process, and a random generator is copied with everything else. The loader gives
each worker a seed of its own for what it knows: `torch`, Python's `random` and, since PyTorch 1.9, the global
functions of `numpy.random`. It cannot know a generator that the data set made itself (`self.rng =
np.random.default_rng(0)` in `__init__`, or one at the top of the module): its copies are all in the same state. A
`worker_init_fn` that seeds with a constant undoes even what the loader did, and so does a constant seed in
`__getitem__`, for every single sample. Before PyTorch 1.9, `np.random.rand()` and the like repeated, too. Outside of
a loader, in a `multiprocessing.Pool`, nobody seeds NumPy: forked processes repeat its numbers in every version.

How to confirm
--------------
Let `__getitem__` return `(worker_info.id, self.rng.random())` for a few batches: the same numbers come from different
workers.

Fix
---
Make the generator in the worker and from the worker's seed: in `worker_init_fn`,
`torch.utils.data.get_worker_info().dataset.rng = np.random.default_rng(torch.initial_seed())`; or draw from `torch`.
`torch.initial_seed()` differs from worker to worker and from epoch to epoch, and follows `torch.manual_seed`.

When it is something else
-------------------------
The global functions of `random`, `torch` and, from PyTorch 1.9 on, `numpy.random` are right as they are. A seed that
depends on the index makes a sample reproducible and is no mistake, but the same in every epoch.

Sources
-------
- PyTorch, randomness in multi-process data loading:
  https://docs.pytorch.org/docs/stable/data.html#randomness-in-multi-process-data-loading
- PyTorch 1.9, NumPy is seeded in workers: https://github.com/pytorch/pytorch/pull/56488
- NumPy, parallel random number generation: https://numpy.org/doc/stable/reference/random/parallel.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.loaders import Loader, dataset_classes, in_workers, loaders, parallel_loader, reachable
from snellen.core.finding import Fix, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import UNKNOWN, Assignment, CallSite, ClassBlock, FunctionBlock, Hit, SourceFile

__all__ = ["RULE"]


_GENERATORS = frozenset(
    {
        *("numpy.random.default_rng", "numpy.random.RandomState", "numpy.random.Generator", "random.Random"),
        *("torch.Generator", "jax.random.PRNGKey"),
    }
)
_SEEDS = frozenset(
    {
        *("numpy.random.seed", "random.seed", "torch.manual_seed", "torch.random.manual_seed"),
        *("transformers.set_seed", "accelerate.utils.set_seed"),
        *("lightning.seed_everything", "pytorch_lightning.seed_everything", "lightning.pytorch.seed_everything"),
    }
)
_DRAWS = re.compile(r"^(?:numpy\.random|random)\.(?!seed|default_rng|RandomState|Random$|Generator|[gs]et_?state)\w+$")
_BY_ITSELF = re.compile(r"worker_info|initial_seed|urandom|getpid|time\(|entropy|SystemRandom|uuid|secrets|get_state")
_OLD_TORCH = re.compile(r"\btorch\s{0,3}(?:==|<=?|~=)\s{0,3}1\.[0-8](?:\.\d+)?(?:\+\w+)?\b")


def _examine(file: SourceFile) -> Iterator[Hit]:
    for block in dataset_classes(file):
        methods = in_workers(file, block)
        yield from _copied(file, block, methods, block.name)
        yield from _constant_seed(file, methods)
        yield from _before_1_9(file, block, methods)
    for block in _transforms(file):
        yield from _copied(file, block, reachable(file, block, ("__call__",)), "")
    yield from _worker_init(file)
    yield from _pools(file)


# -- generators that are copied into the workers ----------------------------------------------------------------------


def _transforms(file: SourceFile) -> Iterator[ClassBlock]:
    """Classes of the file whose objects transform samples."""
    callable_ = [block for block in file.classes if any(f.name == f"{block.name}.__call__" for f in file.functions)]
    for block in callable_:
        made = [call for call in file.calls if call.name == block.name]
        around = [call for call in file.calls if call.method == "Compose" or "transform" in call.code.partition("(")[2]]
        if any(other.span != call.span and other.span.contains(call.span) for call in made for other in around):
            yield block


def _copied(file: SourceFile, block: ClassBlock, methods: tuple[FunctionBlock, ...], dataset: str) -> Iterator[Hit]:
    """Generators that a class makes once; `dataset` is the class that loaders draw from, empty for any."""
    if any("get_worker_info" in method.code or "worker_init" in method.code for method in methods):
        return
    for item in file.assignments:
        held = item.target.startswith("self.") and item.function == f"{block.name}.__init__"
        shared = re.fullmatch(r"[A-Za-z_]\w*", item.target) is not None and item.function in ("", block.name)
        maker = _generator(item)
        if maker is None or not (held or shared) or item.conditions:
            continue
        name = re.escape(item.target) if held or not item.function else rf"(?:self|cls|{block.name})\.{item.target}"
        using = [method for method in methods if re.search(rf"(?<![\w.]){name}\b", method.code)]
        if not using or _made_anew(file, item, held) or (shared and _bound_inside(using, item.target)):
            continue
        loader = parallel_loader(file, dataset)
        if loader is None or _reseeded(file, loader, item.target):
            continue
        yield _copied_hit(item, maker, using[0], loader)


def _generator(item: Assignment) -> CallSite | None:
    """The call that makes a generator of random numbers, also through `.manual_seed(0)`."""
    call, origin = item.call, item.origin
    if call is not None and call.method == "manual_seed":
        origin = call.receiver_origin
    made = origin is not None and not origin.through and origin.name in _GENERATORS
    return origin.call if made and origin is not None else None


def _made_anew(file: SourceFile, item: Assignment, held: bool) -> bool:
    """Whether it is set, or seeded again, anywhere else."""
    name = item.target.rpartition(".")[2]
    owner = item.function.partition(".")[0]
    same = [a for a in file.assignments if a.target.rpartition(".")[2] == name and a.span != item.span]
    again = [a for a in same if not a.target.startswith("self.") or a.function.partition(".")[0] == owner]
    seeded = [c for c in file.calls if c.method in ("seed", "manual_seed") and c.receiver == item.target]
    return bool(again) or (held and any(c.span != getattr(item.call, "span", None) for c in seeded))


def _bound_inside(using: list[FunctionBlock], name: str) -> bool:
    return all(name in method.parameters or re.search(rf"\b{name}\s*=[^=]", method.code) for method in using)


def _reseeded(file: SourceFile, loader: Loader, target: str) -> bool:
    """Whether the loader's `worker_init_fn` may set the generator anew."""
    given = loader.argument("worker_init_fn")
    name = target.rpartition(".")[2]
    if given is None or given.value is None:
        return False
    parts = (file, *file.elsewhere)
    functions = [
        f for part in parts for f in part.functions if f.name.rpartition(".")[2] == given.code.rpartition(".")[2]
    ]
    return not functions or any(re.search(rf"\.{name}\b|['\"]{name}['\"]|dataset", f.code) for f in functions)


def _copied_hit(item: Assignment, maker: CallSite, using: FunctionBlock, loader: Loader) -> Hit:
    workers = f"num_workers={loader.workers}" if loader.workers else "workers"
    message = (
        f"`{item.target}` is made once and copied into every worker: with {workers} all of them draw the same "
        f"numbers in `{using.name.rpartition('.')[2]}`"
    )
    attribute = item.target.rpartition(".")[2]
    fresh = "torch.Generator().manual_seed(torch.initial_seed())"
    if "numpy" in maker.name:
        fresh = "np.random.default_rng(torch.initial_seed())"
    elif maker.name == "random.Random":
        fresh = "random.Random(torch.initial_seed())"
    where = f"`torch.utils.data.get_worker_info().dataset.{attribute} = {fresh}`"
    text = (
        f"Make it in the worker: in `worker_init_fn`, {where}."
        if item.target.startswith("self.")
        else (f"Make it in the worker, from its own seed: `{fresh}`, at the first `__getitem__`.")
    )
    return Hit(message, item.span, Fix(text), (loader.evidence,))


# -- seeds that are the same everywhere -------------------------------------------------------------------------------


def _constant_seed(file: SourceFile, methods: tuple[FunctionBlock, ...]) -> Iterator[Hit]:
    """`np.random.seed(0)` in `__getitem__`, and numbers drawn after it."""
    for method in methods:
        calls = list(file.calls_in(method.span))
        for call in calls:
            seed = call.arguments[0] if call.arguments else None
            constant = seed is not None and isinstance(seed.value, int)
            if call.name not in _SEEDS or not constant or call.conditions or seed is None:
                continue
            family = call.name.rpartition(".")[0].removesuffix(".random") or call.name
            later = [c for c in calls if c.span.start > call.span.end and _draws_from(c, family)]
            if later:
                message = f"`{call.code}` in `{method.name}` makes every sample draw the same numbers"
                yield Hit(message, call.span, Fix("Take it out: the loader seeds each worker in each epoch."))


def _draws_from(call: CallSite, family: str) -> bool:
    if family == "torch":
        return re.match(
            r"torch\.(?:rand|randn|randint|randperm|bernoulli|normal|multinomial)", call.name
        ) is not None or ("transform" in (call.receiver or call.name))
    return bool(_DRAWS.match(call.name)) and call.name.startswith(family)


def _worker_init(file: SourceFile) -> Iterator[Hit]:
    """A `worker_init_fn` that seeds with something that does not depend on the worker."""
    seen = set()
    for loader in loaders(file):
        given = loader.argument("worker_init_fn")
        if given is None or not loader.parallel:
            continue
        if given.code.startswith("lambda") and loader.file is file:
            parameter = re.match(r"lambda\s+\*?(\w+)", given.code)
            known = {parameter[1]} if parameter else set()
            for call in file.calls_in(given.span):
                if _same_for_all(call, known):
                    yield _seed_hit(call, loader)
            continue
        for function in file.functions:
            if function.name.rpartition(".")[2] == given.code.rpartition(".")[2] and function.span not in seen:
                seen.add(function.span)
                known = _depending(file, function)
                yield from (_seed_hit(c, loader) for c in file.calls_in(function.span) if _same_for_all(c, known))


def _depending(file: SourceFile, function: FunctionBlock) -> set[str]:
    """Names in a function that depend on the worker."""
    known = {name for name in function.parameters if name != "self"}
    for item in file.assignments:
        if function.span.contains(item.span) and _depends(item.code, known):
            known.add(item.target)
    return known


def _depends(code: str, known: set[str]) -> bool:
    return bool(_BY_ITSELF.search(code)) or any(re.search(rf"\b{re.escape(name)}\b", code) for name in known)


def _same_for_all(call: CallSite, known: set[str]) -> bool:
    seed = call.arguments[0] if call.arguments else None
    if call.name not in _SEEDS or seed is None or seed.value is None or seed.origin is not None:
        return False
    return (seed.value is not UNKNOWN or bool(re.fullmatch(r"[\w.]+", seed.code))) and not _depends(seed.code, known)


def _seed_hit(call: CallSite, loader: Loader) -> Hit:
    message = f"`{call.code}` in `worker_init_fn` gives every worker the same seed, in every epoch"
    fix = Fix(f"Write `{call.code.partition('(')[0]}(torch.initial_seed() % 2**32)`, which is the worker's own.")
    return Hit(message, call.span, fix, (loader.evidence,))


# -- where nobody seeds NumPy -----------------------------------------------------------------------------------------


def _before_1_9(file: SourceFile, block: ClassBlock, methods: tuple[FunctionBlock, ...]) -> Iterator[Hit]:
    """The global functions of NumPy in a project that asks for a PyTorch that does not seed them."""
    calls = [call for method in methods for call in file.calls_in(method.span)]
    drawn = next((call for call in calls if _DRAWS.match(call.name) and call.name.startswith("numpy.")), None)
    loader = parallel_loader(file, block.name) if drawn is not None else None
    if drawn is None or loader is None or loader.argument("worker_init_fn") is not None:
        return
    texts = [part.text for part in (file, *file.elsewhere)] + [command.code for command in file.shell]
    old = next((found for text in texts if (found := _OLD_TORCH.search(text))), None)
    if old is not None:
        message = f"`{drawn.code}` repeats in every worker: `{old[0]}`, which this project asks for, seeds no NumPy"
        fix = Fix("Use PyTorch 1.9 or newer, or seed NumPy in `worker_init_fn` with `torch.initial_seed() % 2**32`.")
        yield Hit(message, drawn.span, fix)


_POOLS = frozenset({"multiprocessing.Pool", "torch.multiprocessing.Pool", "multiprocessing.pool.Pool"})
_MAPS = frozenset({"map", "imap", "imap_unordered", "starmap", "map_async", "starmap_async", "apply_async"})


def _pools(file: SourceFile) -> Iterator[Hit]:
    """NumPy's global functions in what a pool of forked processes runs."""
    if not any(call.name in _POOLS and call.argument(1, "initializer") is None for call in file.calls):
        return
    for call in file.calls:
        origin = call.receiver_origin
        if call.method not in _MAPS or origin is None or origin.name not in _POOLS or not call.arguments:
            continue
        if origin.call.argument(1, "initializer") is not None:
            continue
        for function in file.functions:
            drawn = [c for c in file.calls_in(function.span) if _DRAWS.match(c.name) and c.name.startswith("numpy.")]
            if (
                function.name == call.arguments[0].code
                and drawn
                and not re.search(r"seed|default_rng|RandomState", function.code)
            ):
                message = (
                    f"`{drawn[0].code}` draws the same numbers in every process of the pool: nobody seeds NumPy there"
                )
                fix = Fix("Draw from a generator made for the task: `np.random.default_rng(seed_of_the_item)`.")
                yield Hit(message, drawn[0].span, fix)


RULE = Rule(
    slug="worker-same-augmentation",
    family="data",
    title="All loader workers draw the same random numbers",
    level=Level.WARNING,
    log=absent("nothing is printed: the numbers look random"),
    source=SourceFacet(("default_rng", "RandomState", "random.", "Generator", "seed("), _examine),
    before=absent("the engine seeds every sample by its position"),
    during=absent("steps do not show what was drawn"),
    module=__name__,
)
