"""Something that a worker process needs cannot be pickled, so that it cannot be started.

What happens
------------
When the loader starts its workers: `AttributeError: Can't pickle local object 'main.<locals>.<lambda>'` (from Python
3.14 on `_pickle.PicklingError: Can't pickle local object`), `TypeError: cannot pickle 'module' object`, `can't pickle
Environment objects` (LMDB), `h5py objects cannot be pickled`. The worker that waited for the pickle then prints
`EOFError: Ran out of input`, which is only the echo.

Why
---
On Windows and macOS, and from Python 3.14 on also on Linux, worker processes are not forked but started anew; the
data set, its transforms, `collate_fn` and `worker_init_fn` are pickled and sent to them. A lambda, a function defined
inside another one, an open file or database, a lock, a module or a generator cannot be pickled.

How to confirm
--------------
`pickle.dumps(loader.dataset)` and `pickle.dumps(loader.collate_fn)` in the training process raise the same error. With
`num_workers=0` it runs.

Fix
---
Write the lambda as a function at the top level of a module, or as a class with `__call__`; use `functools.partial`
for arguments. Open files, HDF5 and LMDB in the worker, at the first `__getitem__`, and not in `__init__`. On Linux
`multiprocessing_context="fork"` brings back the old behaviour.

When it is something else
-------------------------
The same words while a checkpoint is saved or a model is copied (`torch.save`, `copy.deepcopy`) have nothing to do with
workers. An error that tells of `freeze_support()` is `missing-main-guard`.

Sources
-------
- Python, what can be pickled: https://docs.python.org/3/library/pickle.html#what-can-be-pickled-and-unpickled
- Python, start methods: https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
- PyTorch on Windows, multiprocessing: https://docs.pytorch.org/docs/stable/notes/windows.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.loaders import dataset_classes, loaders, spawns
from snellen.core.finding import Fix, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, Hit, SourceFile, Span

__all__ = ["RULE"]


_LOCAL = re.compile(
    r"Can't (?:pickle|get) local (?:object|function) <?'?(?:function )?(?P<what>[^\n']{1,200}?)(?: at 0x\w{1,20}>|'|$)",
    re.IGNORECASE,
)
_FUNCTION = re.compile(
    r"Can't pickle (?P<what><function [^\n]{1,200}?>|<class [^\n>]{1,200}>|typing\.\w{1,40})", re.IGNORECASE
)
_OBJECT = re.compile(
    r"(?:cannot|can't) pickle '?(?P<what>[\w.]{1,100})'?\s+objects?|(?P<other>h5py objects cannot be pickled)"
    r"|(?P<env>self\.\w{1,40} cannot be converted to a Python object for pickling)",
    re.IGNORECASE,
)
_FOREIGN = re.compile(r"Can't get attribute '(?P<what>\w{1,100})' on <module '__m(?:p_m)?ain__'", re.IGNORECASE)
_STARTS = re.compile(
    r"popen_spawn|popen_forkserver|ForkingPickler|reduction\.(?:py|dump|pickle)|multiprocessing[\\/](?:spawn|reduction)"
    r"|w\.start\(\)|spawn_main|pickle error when attempting to start a worker",
    re.IGNORECASE,
)
_SAVES = re.compile(r"torch[\\/]serialization\.py|\btorch\.save\(|[\\/]copy\.py$|deepcopy|joblib|\bpickle\.dump\(")
_ECHO = re.compile(r"Ran out of input|pickle data was truncated", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    starting = log.search(_STARTS.pattern) is not None
    for error in log.exceptions:
        match = _claim(error, starting)
        if match is not None:
            return match
    line = log.search(f"{_LOCAL.pattern}|h5py objects cannot be pickled")
    if line is not None and not log.exceptions and not log.search(_SAVES.pattern):
        found = _LOCAL.search(line.text)
        what = found["what"] if found else "h5py objects"
        return LogMatch(0.85 if starting else 0.75, (line.evidence,), _cause(what), _fix(what))
    echo = next((error for error in log.exceptions if _ECHO.search(error.message)), None)
    if echo is not None and log.search(r"reduction\.pickle\.load\(from_parent\)|spawn_main"):
        cause = "A worker waited for its pickled data set and got nothing: in the parent process, pickling failed."
        fix = "Look for the error of the parent process, above this one. " + _ADVICE
        return LogMatch(0.72, (echo.evidence,), cause, Fix(fix))
    return None


def _claim(error: LoggedException, starting: bool) -> LogMatch | None:
    own = any(_STARTS.search(f"{frame.path} {frame.code} {frame.function}") for frame in error.frames)
    if not own and any(_SAVES.search(f"{frame.code}\n{frame.path}") for frame in error.frames):
        return None
    frame = error.user_frame
    evidence = (error.evidence, *((frame.evidence,) if frame else ()))
    for pattern, alone in ((_LOCAL, 0.85), (_FUNCTION, 0.65), (_OBJECT, 0.6), (_FOREIGN, 0.45)):
        found = pattern.search(error.message)
        if found is None:
            continue
        score = 0.97 if own else 0.92 if starting else alone
        if pattern is _FOREIGN:
            # Loading a whole pickled model gives the same words; only the start of a worker is meant.
            score = 0.9 if own or starting else 0.7 if "(built-in)" in error.message else 0.0
        what = next((part for part in found.groups() if part), "an object")
        return LogMatch(score, evidence, _cause(what), _fix(what)) if score else None
    return None


_ADVICE = "On Windows, macOS and Python 3.14 workers are started anew, so that all they need must be picklable."
_HANDLES = re.compile(
    r"Environment|h5py|lmdb|BufferedReader|TextIOWrapper|sqlite|Connection|ZipFile|File\b", re.IGNORECASE
)


def _cause(what: str) -> str:
    named = f"`{what.strip()}`" if not what.endswith("pickled") else "an open HDF5 file"
    return f"Worker processes are started anew here and get the data set by pickle; {named} cannot be pickled."


def _fix(what: str) -> Fix:
    if "lambda" in what:
        owner = what.partition(".<locals>")[0]
        where = f" in `{owner}`" if "<locals>" in what else ""
        text = f"Write the lambda{where} as a named function at the top level of its module."
    elif "<locals>" in what:
        name = what.rpartition(".")[2]
        text = f"Move `{name}` out of `{what.partition('.<locals>')[0]}`, to the top level of its module."
    elif _HANDLES.search(what):
        text = "Open the file or database in the worker, at the first `__getitem__`, not in `__init__`."
    elif what.isidentifier() and what[:1].isupper():
        text = f"Put `{what}` into a module that the workers can import, not into the notebook or the main script."
    else:
        text = f"Keep the {what} out of the data set and of what it holds, or make it at the first `__getitem__`."
    return Fix(f"{text} Until then `num_workers=0`.")


def _probe(_log: Log, here: Here) -> Answer:
    ran = here.python("import multiprocessing; print(multiprocessing.get_start_method())")
    method = ran.output.strip().splitlines()[-1] if ran.code == 0 and ran.output.strip() else ""
    if method == "fork":
        return Answer(Outcome.REFUTED, "workers are forked here unless the program says otherwise: nothing is pickled")
    if method in ("spawn", "forkserver"):
        return Answer(Outcome.CONFIRMED, f"the start method here is {method!r}: what workers need is pickled")
    return Answer(Outcome.CANNOT_TELL, "Python did not tell its start method")


_PASSED = ("collate_fn", "worker_init_fn")
_ELSEWHERE = re.compile(
    r"(?:platform\.system\(\)|sys\.platform|os\.name)\s*==\s*['\"](?:Windows|win32|nt|Darwin|darwin)['\"]"
    r"|['\"]mps['\"]|['\"][A-Z]:(?:\\\\|/)\w"
)
_OPENERS = frozenset(
    {"h5py.File", "lmdb.open", "sqlite3.connect", "open", "zipfile.ZipFile", "threading.Lock", "threading.RLock"}
)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    passed = list(_passed(file))
    held = list(_held(file))
    if not passed and not held:
        return
    anew = spawns(file)
    level = Level.ERROR if anew else Level.WARNING if _ELSEWHERE.search(file.text) else Level.NOTE
    why = "workers are spawned" if anew else "on Windows, on macOS and from Python 3.14 on workers are not forked"
    for argument in passed:
        message = f"{why}, and `{_short(argument.code)}` cannot be pickled for them"
        yield Hit(
            message, argument.span, Fix("Write it as a named function at the top level of the module."), level=level
        )
    if anew and any(loader.workers for loader in loaders(file)):
        for span, what, advice in held:
            yield Hit(f"{why}, and {what} cannot be pickled for them", span, Fix(advice))


def _passed(file: SourceFile) -> Iterator[Argument]:
    """Functions given to loaders with workers that cannot be pickled."""
    for loader in loaders(file, project=False):
        if loader.workers and not _forked(loader.argument("multiprocessing_context")):
            given = [loader.argument(name) for name in _PASSED]
            yield from (a for a in given if a is not None and _unpicklable(file, a, loader.call.function))


def _forked(argument: Argument | None) -> bool:
    return argument is not None and argument.value == "fork"


def _unpicklable(file: SourceFile, argument: Argument, function: str) -> bool:
    if argument.code.startswith("lambda"):
        return True
    held = [a for a in file.assignments if a.target == argument.code and a.code.startswith("lambda")]
    inner = f"{function}.{argument.code}" if function else ""
    classes = {block.name for block in file.classes}
    nested = any(f.name == inner and inner.rpartition(".")[0] not in classes for f in file.functions)
    return bool(held) or nested


def _held(file: SourceFile) -> Iterator[tuple[Span, str, str]]:
    """Lambdas in transforms, and what a data set opens in `__init__`: place, what it is, and what to do."""
    for call in file.calls:
        for argument in call.arguments if call.method == "Lambda" and "transforms" in call.name else ():
            if argument.code.startswith("lambda"):
                advice = "Write it as a named function at the top level of the module."
                yield argument.span, f"`{_short(argument.code)}`", advice
    for block in dataset_classes(file):
        if f"{block.name}.__getstate__" in {function.name for function in file.functions}:
            continue
        for item in file.assignments:
            opened = item.call is not None and item.call.name in _OPENERS
            if opened and item.function == f"{block.name}.__init__" and item.target.startswith("self."):
                what = f"`{item.target}`, which holds `{_short(item.code)}`,"
                yield item.span, what, f"Set `{item.target} = None` here and open it at the first `__getitem__`."


def _short(code: str) -> str:
    text = " ".join(code.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


RULE = Rule(
    slug="unpicklable-worker",
    family="data",
    title="What a worker process needs cannot be pickled",
    level=Level.ERROR,
    log=LogFacet(
        ("pickle", "ran out of input", "can't get attribute", "local object", "local function"), _examine_log, _probe
    ),
    source=SourceFacet(("lambda", "DataLoader"), _examine_source),
    before=absent("the engine's data sets and collate functions are picklable by construction"),
    during=absent("workers fail to start before the first step"),
    module=__name__,
)
