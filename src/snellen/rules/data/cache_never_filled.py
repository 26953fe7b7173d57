"""A cache is switched on, and nothing is ever found in it.

What happens
------------
Nothing is raised; every epoch is as slow as the first. At most a line such as `Cache preloaded: 0 items, 0.0GB /
30.0GB` is printed, or `cache_info()` counts misses only.

Why
---
The cache is filled somewhere else than it is read. A dictionary in the data set is filled by each worker in its own
copy, and the copies end with the workers, after every epoch. The preloading runs before the list of samples is made,
or on a split that holds none. A dictionary is looked up and never written. `lru_cache` on a method that is given
tensors compares them by identity, and every batch is a new one; with `maxsize=0` it keeps nothing at all.

How to confirm
--------------
Print `len(cache)` after one epoch, in the training process and in a worker. Time the second epoch: with a cache that
works it is much faster than the first.

Fix
---
Fill the cache in `__init__`, after the samples are known, before the workers are forked, and stop when it is empty. Or
keep the workers: `DataLoader(..., persistent_workers=True)`, each with its own share. Or use a file (`.npy` through
`np.memmap`, LMDB, Arrow) that all processes read. Cache by index or path, never by tensor.

When it is something else
-------------------------
No sample at all is `empty-dataset`. A cache folder that may not be written to is `cache-permission`. During the first
epoch every look-up is a miss.

Sources
-------
- PyTorch, workers and `persistent_workers`: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
- Python, `functools.lru_cache`: https://docs.python.org/3/library/functools.html#functools.lru_cache
- `Tensor.__hash__` is its identity: https://docs.pytorch.org/docs/stable/tensors.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from snellen.core.code.loaders import Loader, dataset_classes, in_workers, loaders, reachable
from snellen.core.facts.cache import CacheFacts
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LogLine, LogMatch
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.rule import BeforeFacet, DuringFacet, LogFacet, Rule, SourceFacet
from snellen.core.sizes import amount
from snellen.core.source import Assignment, CallSite, ClassBlock, FunctionBlock, Hit, SourceFile, Span
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]


_THINGS = r"(?:items?|images?|samples?|files?|entries|frames?|clips?|keys?|records?|elements?|tensors?|volumes?)"
_NONE = r"(?<![\d.,/])\b0(?:\s{0,2}/\s{0,2}[1-9]\d{0,9})?"
_EMPTY = re.compile(
    rf"\bcach(?:e|es|ed|ing)\b[^\n\d]{{0,60}}{_NONE}\s+(?:\w{{1,20}}\s)?{_THINGS}\b"
    rf"|{_NONE}\s+(?:\w{{1,20}}\s)?{_THINGS}\s[^\n\d]{{0,40}}\bcach(?:e|ed|ing)\b"
    r"|\bcache (?:is|was) (?:still )?empty\b|\bcache[_ ](?:size|length|len)\s{0,2}[:=]\s{0,2}0\b(?![.\d])"
    r"|CacheInfo\(hits=0, misses=\d{1,12}, maxsize=0\b",
    re.IGNORECASE,
)
_FILLING = re.compile(
    r"load|fill|built|build|warm|cached|hold|contain|stor|memory|ram\b|size|empty|CacheInfo", re.IGNORECASE
)
_OTHER = re.compile(
    r"clear|delet|remov|evict|flush|invalid|corrupt|CUDA|kv[_ -]?cache|recompil|inductor|autotun|pip|apt|docker|http"
    r"|download|duplicate|missing|skipp|is off|disabled|failed",
    re.IGNORECASE,
)
_LOADED = re.compile(r"\bLoading 0 \w{1,20}(?:, 0 \w{1,20}){0,5}", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    empty = next((line for line in log.find(_EMPTY.pattern) if _tells(line)), None)
    if empty is None or any(error.name != "KeyboardInterrupt" for error in log.exceptions):
        return None
    later = [line for line in log.lines if line.number > empty.number and re.search("cach", line.text, re.IGNORECASE)]
    if any(re.search(r"\b[1-9]\d*\s+(?:\w+\s)?" + _THINGS, line.text) for line in later):
        return None
    before = log.search(_LOADED.pattern)
    evidence = (empty.evidence, *((before.evidence,) if before and before.number != empty.number else ()))
    nothing = before is not None or re.search(r"preload|loaded", empty.text, re.IGNORECASE)
    cause = "The cache is empty: it was filled before there was anything to put in, or from a split without samples."
    if not nothing:
        cause = "The cache is empty: what is looked up in it is never put there, or only in copies that workers hold."
    fix = Fix(
        "Print how many samples there are before the cache is filled, and check the folder and the case of the split's "
        "name. Fill it after the list of samples is made, and stop when it stays empty."
        if nothing
        else "Fill it in the training process, before workers start, or keep them with `persistent_workers=True`."
    )
    return LogMatch(0.85 if nothing else 0.7, evidence, cause, fix)


def _tells(line: LogLine) -> bool:
    return bool(_FILLING.search(line.text)) and not _OTHER.search(line.text)


# -- in source --------------------------------------------------------------------------------------------------------

_NAMED = re.compile(r"cach|memo(?:i[sz]ed?)?(?:_|$)|preloaded", re.IGNORECASE)
_LRU = frozenset({"functools.lru_cache", "functools.cache", "lru_cache"})
_SHARED = re.compile(
    r"share_memory|Manager\(\)|shared_memory|SharedArray|multiprocessing\.Array|memmap|diskcache|shelve|lmdb"
)
_PLAIN = re.compile(
    r"^(?:\{\}|dict\(\)|(?:collections\.)?OrderedDict\(\)|\[None\]\s*\*.{1,60}|\[None for .{1,80}\]"
    r"|(?:cachetools\.)?(?:LRU|LFU|FIFO|TTL)Cache\(.{0,60}\))$"
)
_MANAGED = re.compile(r"\.dict\(\)$")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    yield from _tensor_keys(file)
    yield from _never_written(file)
    yield from _guarded_by_itself(file)
    for block in dataset_classes(file):
        yield from _per_worker(file, block)
        yield from _remembered(file, block)
        yield from _too_early(file, block)


def _tensor_keys(file: SourceFile) -> Iterator[Hit]:
    """`lru_cache` that is given tensors, or that keeps nothing."""
    for call in file.calls:
        size = call.argument(0, "maxsize")
        if call.name in _LRU and size is not None and size.value == 0 and size.value is not False:
            yield Hit("`lru_cache` with maxsize=0 keeps nothing", call.span, Fix("Give it a size: `maxsize=128`."))
    for function in file.functions:
        if not _LRU & set(function.decorators):
            continue
        head = function.code.partition(":\n")[0]
        annotated = re.search(r"(?P<name>\w+)\s*:\s*(?:torch\.)?(?:Float|Long)?Tensor\b", head)
        if annotated:
            message = (
                f"`{function.name.rpartition('.')[2]}` is cached by the tensor `{annotated['name']}`, and tensors are "
                "found by identity: the next batch is never found, and the old ones are kept alive"
            )
            fix = Fix("Cache by something that stays the same, such as the shape or a path, or drop the cache.")
            yield Hit(message, function.span, fix)


def _never_written(file: SourceFile) -> Iterator[Hit]:
    """A dictionary that is looked up in its class and written nowhere."""
    for item in file.assignments:
        name = item.target.rpartition(".")[2]
        plain = _PLAIN.match(item.code) or _MANAGED.search(item.code)
        if not plain or not _NAMED.search(name) or item.target.count(".") > 1 or item.code.startswith("["):
            continue
        if item.target.startswith("self.") != bool(item.function) or not _looked_up(file.text, item.target):
            continue
        if _touched(file, item, name):
            continue
        message = f"`{item.target}` is looked up and never written: every look-up is a miss"
        yield Hit(
            message, item.span, Fix(f"Write what was loaded: `{item.target}[key] = value`, or take the cache out.")
        )


def _looked_up(text: str, target: str) -> bool:
    name = re.escape(target)
    return bool(re.search(rf"\bin {name}\b(?!\.)(?!\s*:)|(?<![\w.]){name}\.get\(|(?<![\w.]){name}\[", text))


def _touched(file: SourceFile, item: Assignment, name: str) -> bool:
    """Whether anything may write into it: by key, by a method, under another name, or from outside."""
    word, owner = re.escape(name), item.function.partition(".")[0] or name
    reading = rf"(?:\bin\s+(?:self\.)?{word}\b(?!\s*\.)|(?:self\.)?{word}\.get\(|len\((?:self\.)?{word}\))"
    for part in (file, *file.elsewhere):
        # Another file can write into it only through the class, or by importing it.
        if name not in part.text or (part is not file and owner not in part.text):
            continue
        for found in re.finditer(rf"(?<!\w){word}\b", part.text):
            line_start = part.text.rfind("\n", 0, found.start()) + 1
            line = part.text[line_start : (part.text.find("\n", found.end()) + 1 or len(part.text) + 1) - 1]
            if part is file and part.text.count("\n", 0, found.start()) + 1 == item.span.start_line:
                continue
            rest = re.sub(reading, "", line)
            rest = re.sub(rf"(?:self\.)?{word}\[[^\]\n]*\](?!\s*(?:=[^=]|\+=|\[|\.|,))", "", rest)
            if re.search(rf"(?<!\w){word}\b", rest.partition("#")[0]):
                return True
    return False


def _guarded_by_itself(file: SourceFile) -> Iterator[Hit]:
    """`if self.cache: self.cache[key] = value`: an empty dictionary is false, so that it stays empty."""
    for item in file.assignments:
        code = item.code.partition(" if ")[0]
        if code not in ("{}", "dict()") or not _NAMED.search(item.target) or item.operator:
            continue
        writes = [a for a in file.assignments if a.target.startswith(f"{item.target}[")]
        tests = [next((c for c in a.conditions if _is_truth(c, item.target)), None) for a in writes]
        others = rf"(?<![\w.]){re.escape(item.target)}\.(?:update|setdefault)\("
        if writes and all(tests) and not re.search(others, file.text):
            message = (
                f"`if {tests[0]}` is false as long as `{item.target}` is empty, so that nothing is ever put into it"
            )
            fix = Fix(f"Ask `if {item.target} is not None`, or the setting that switches the cache on.")
            yield Hit(message, writes[0].span, fix)


def _is_truth(condition: str, target: str) -> bool:
    return condition == target or condition.startswith(f"{target} and ") or condition.endswith(f" and {target}")


def _remembered(file: SourceFile, block: ClassBlock) -> Iterator[Hit]:
    """`lru_cache` on what loads one sample, asked in workers that end with the epoch."""
    for method in in_workers(file, block):
        name = method.name.rpartition(".")[2]
        by_index = len(method.parameters) == 2 and _INDEX.match(method.parameters[1])
        loader = _short_lived(file, block.name) if _LRU & set(method.decorators) and by_index else None
        if loader is not None:
            yield _per_worker_hit(file, f"The cache of `{name}`", method.span, loader)


def _per_worker(file: SourceFile, block: ClassBlock) -> Iterator[Hit]:
    """A dictionary that `__getitem__` fills in the worker, whose copy ends with the epoch."""
    methods = in_workers(file, block)
    start = {function.name for function in reachable(file, block, ("__init__",))}
    for item in file.assignments:
        name = item.target if item.function == f"{block.name}.__init__" else f"self.{item.target}"
        own = name.startswith("self.") and item.function in (f"{block.name}.__init__", block.name)
        if not own or not _PLAIN.match(item.code) or _SHARED.search(file.text) or f"{name}.pop" in file.text:
            continue
        written = _writer(file, methods, name)
        if written is None or not _looked_up(file.text, name) or not _is_cache(name, methods):
            continue
        filled_first = any(a.target.startswith(f"{name}[") and a.function in start for a in file.assignments)
        loader = _short_lived(file, block.name)
        if filled_first or loader is None:
            continue
        yield _per_worker_hit(file, f"`{name}`", written.span, loader)


_INDEX = re.compile(r"^(?:index|idx|i|item|item_idx|sample_idx|ind)$")
_BY_INDEX = re.compile(r"^self\.\w+\[(?:index|idx|i|item|item_idx|sample_idx|ind)\]$")


def _writer(file: SourceFile, methods: tuple[FunctionBlock, ...], target: str) -> Assignment | None:
    """The assignment that fills it, one entry for each sample; what samples share is found within the epoch."""
    for item in file.assignments:
        key = item.target.removeprefix(f"{target}[").removesuffix("]")
        method = next((method for method in methods if method.span.contains(item.span)), None)
        if method is None or item.operator or not item.target.startswith(f"{target}["):
            continue
        made = [a.code for a in file.assignments if a.target == key and a.function == method.name]
        if (_INDEX.match(key) and not made) or (made and all(_BY_INDEX.match(code) for code in made)):
            return item
    return None


def _is_cache(target: str, methods: tuple[FunctionBlock, ...]) -> bool:
    """Whether samples are looked up in it before they are loaded."""
    name = re.escape(target)
    tested = (
        rf"\bin {name}\b|{name}\[[^\]\n]+\] is (?:not )?None|{name}\.get\(|return {name}\[[^\n]+\n\s*except KeyError"
    )
    return any(re.search(tested, method.code) for method in methods)


def _short_lived(file: SourceFile, name: str) -> Loader | None:
    """A loader for the class whose workers end with the epoch; `None` when some loader keeps them."""
    found = [loader for loader in loaders(file) if loader.may_draw_from(name)]
    keeping = [loader.argument("persistent_workers") for loader in found]
    kept = [argument for argument in keeping if argument is not None and argument.value is not False]
    sure = [loader for loader in found if loader.parallel and "**" not in loader.call.code]
    return None if kept else next(iter(sure), None)


def _per_worker_hit(file: SourceFile, what: str, span: Span, loader: Loader) -> Hit:
    workers = f"num_workers={loader.workers}" if loader.workers else "workers"
    message = (
        f"{what} is filled in the loader's workers ({workers}): each fills a copy of its own, and the copies "
        "end with the epoch"
    )
    inside = loader.call.code[:-1].rstrip().rstrip(",")
    text = "Keep the workers with `persistent_workers=True`, or fill the cache in `__init__`, before they start."
    if loader.file is not file or "\n" in inside or not loader.workers:
        return Hit(message, span, Fix(text), (loader.evidence,))
    fix = Fix(
        text,
        FixSafety.UNSAFE,
        "the workers and their copies of the cache stay in memory between epochs",
        edits=(file.edit(loader.call.span, f"{inside}, persistent_workers=True)"),),
    )
    return Hit(message, span, fix, (loader.evidence,))


_LOOPS = re.compile(r"\bin (?:enumerate\(|tqdm\()*(?:range\(len\()?(self\.\w+)\b")
_NOTHING = re.compile(r"\[\]|\{\}|list\(\)|dict\(\)|\(\)")


def _too_early(file: SourceFile, block: ClassBlock) -> Iterator[Hit]:
    """`__init__` fills the cache while the list that it goes through is still empty."""
    own = {function.name: function for function in file.functions}
    first = own.get(f"{block.name}.__init__")
    for call in file.calls_in(first.span) if first is not None else ():
        filler = own.get(f"{block.name}.{call.method}") if call.receiver == "self" else None
        if filler is None or not re.search(r"self\.\w*(?:cach|preload|memo)\w*(?:\[|\.append|\.update)", filler.code):
            continue
        for name in sorted(set(_LOOPS.findall(filler.code))):
            later = _filled_after(file, first, call, name)
            if later is not None:
                message = f"`{call.code}` goes through `{name}` before it is filled: the cache stays empty"
                place = Location(file.path, later.span.start_line, later.span.start_column + 1)
                fix = Fix(f"Call it after `{name}` is set, and stop when the cache is empty.")
                yield Hit(message, call.span, fix, (Evidence(f"{name} = {later.code}", place),))


def _filled_after(file: SourceFile, first: FunctionBlock | None, call: CallSite, name: str) -> Assignment | None:
    """The assignment that fills a list after a call, when the list is surely empty at the call."""
    if first is None:
        return None
    given = [a for a in file.assignments if a.target == name and a.function == first.name]
    before = [a for a in given if a.span.end <= call.span.start]
    after = [a for a in given if a.span.start > call.span.end]
    if not before or not after or not _NOTHING.fullmatch(before[-1].code):
        return None
    earlier = [c for c in file.calls_in(first.span) if c.span.end <= call.span.start]
    return None if any(c.receiver in (name, "self") for c in earlier) else after[0]


# -- before the run ---------------------------------------------------------------------------------------------------


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    cache: CacheFacts = plan.fact("cache")
    if cache.fits or (cache.asked is None and not cache.items):
        # An empty data set of its own accord is `empty-dataset`.
        return
    if not cache.items:
        where = " and ".join(cache.folders) or "the data"
        message = f"data.cache asks for {amount(cache.asked or 0)}, and {where} has no sample to keep in it"
        fix = Fix("Check the folder and the spelling of the split: Train is not train.", command="snellen check")
    else:
        message = (
            f"the cache would hold 0 of {cache.items} samples: it gets {cache.why}, and the smallest sample takes "
            f"{amount(cache.smallest)} decoded"
        )
        useful = f"{max(1, -(-round(cache.mean * cache.items * 1.05) // 2**20))}MiB"
        fix = Fix(
            f"Write data.cache: {{size: {useful}}}, which holds all, or data.cache: false.",
            FixSafety.SAFE,
            "what does not fit into the free memory is decoded again in each epoch",
            settings=(("data.cache", {"size": useful}),),
        )
        if cache.free is not None and cache.free < cache.smallest:
            fix = Fix("Free some memory, or write data.cache: false.", FixSafety.SAFE,
                      "samples are decoded in each epoch", settings=(("data.cache", False),))  # fmt: skip
    place = setting_place(plan, "data.cache")
    level = Level.ERROR if cache.asked is not None else Level.WARNING
    yield Finding("cache-never-filled", level, message, place, fix=fix)


# -- during the run ---------------------------------------------------------------------------------------------------


def _start() -> Callable[[Step], Verdict | None]:
    epoch, epochs, told = -1, 0, False
    before: Mapping[str, int] = {}

    def observe(step: Step) -> Verdict | None:
        nonlocal epoch, epochs, before, told
        if told or not step.cache or step.epoch == epoch:
            return None
        found = _unused(step, before) if epochs >= 2 else None
        # The first epoch, or what is left of it after a resume, fills the cache.
        epoch, epochs, before = step.epoch, epochs + 1, step.cache
        told = found is not None
        return found

    return observe


def _unused(step: Step, before: Mapping[str, int]) -> Verdict | None:
    """What to say of a whole epoch after the first in which nothing was found."""
    hits, misses = (step.cache[name] - before[name] for name in ("hits", "misses"))
    if hits or not misses:
        return None
    held = f"it holds {step.cache['items']} of {step.cache['slots']} items"
    message = f"the cache was asked {misses} times in epoch {step.epoch}, and not once was the item in it; {held}"
    fix = Fix("Free some memory or give data.cache.size more; or write data.cache: false, which costs less than this.")
    return Verdict(Action.CONTINUE, Finding("cache-never-filled", Level.WARNING, message, fix=fix))


RULE = Rule(
    slug="cache-never-filled",
    family="data",
    title="A cache is switched on and nothing is in it",
    level=Level.WARNING,
    log=LogFacet(("cache", "cached", "caching"), _examine_log),
    source=SourceFacet(("cache", "memo", "preload"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=DuringFacet(_start),
    module=__name__,
)
