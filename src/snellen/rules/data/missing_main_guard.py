"""A script starts worker processes outside of `if __name__ == "__main__":`.

What happens
------------
`RuntimeError: An attempt has been made to start a new process before the current process has finished its
bootstrapping phase.`, followed by the advice to write `if __name__ == '__main__': freeze_support()`. Or the script
seems to start several times over, and the first process ends with `BrokenPipeError: [Errno 32] Broken pipe` or
`DataLoader worker (pid(s) ...) exited unexpectedly`.

Why
---
On Windows and macOS, and from Python 3.14 on also on Linux, a worker is a new Python that imports the main script to
find what it needs. Everything at the top level of the script runs again in the worker, also the loop that starts
workers, which Python stops. `freeze_support()` itself is needed for frozen executables only.

How to confirm
--------------
A `print` at the top of the script is shown once for each worker. With `num_workers=0` it runs.

Fix
---
Put everything that is not an import, a class or a function under a guard:

    def main():
        ...

    if __name__ == "__main__":
        main()

When it is something else
-------------------------
`Can't pickle local object` is `unpicklable-worker`. In a notebook on Windows or macOS the data set has to live in a
module of its own, because a worker cannot import the notebook.

Sources
-------
- Python, safe importing of the main module:
  https://docs.python.org/3/library/multiprocessing.html#the-spawn-and-forkserver-start-methods
- PyTorch on Windows, error without the guard:
  https://docs.pytorch.org/docs/stable/notes/windows.html#multiprocessing-error-without-if-clause-protection
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from snellen.core.code.loaders import Loader, loader_behind, loaders, spawns
from snellen.core.finding import Evidence, Fix, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]


_STATED = re.compile(r"An attempt has been made to start a new process before the", re.IGNORECASE)
_CHECK = re.compile(r"_check_not_importing_main|freeze_support\(\)")
_IMPORTING = re.compile(r"_fixup_main_from_path|__mp_main__|init_main_from_path")
_BROKEN = re.compile(r"BrokenPipeError: \[Errno 32\] Broken pipe|\[Errno 32\] Broken pipe")
_SENDING = re.compile(r"reduction\.dump\(process_obj, to_child\)|popen_spawn_win32|ForkingPickler\(file, protocol\)")
_SCRIPT = re.compile(r"\.py$")


def _examine_log(log: Log) -> LogMatch | None:
    stated = find_message(log, _STATED)
    check = log.search(_CHECK.pattern)
    if stated is not None or check is not None:
        said = stated or check
        return _match(log, (said.evidence,) if said else (), 0.98 if stated else 0.96)
    broken = find_message(log, _BROKEN)
    importing = log.search(_IMPORTING.pattern)
    others = [e for e in log.exceptions if not _BROKEN.search(e.text) and "exited unexpectedly" not in e.message]
    if others:
        return None
    if importing is not None:
        evidence = (importing.evidence, *((broken.evidence,) if broken else ()))
        return _match(log, evidence, 0.9 if broken else 0.75)
    sending = log.search(_SENDING.pattern) if broken else None
    return _match(log, (broken.evidence, sending.evidence), 0.75) if broken and sending else None


def _script(log: Log) -> str | None:
    """The main script, where a traceback shows it: the outermost frame at its top level."""
    for error in log.exceptions:
        for frame in error.frames:
            if frame.function == "<module>" and not frame.in_library and _SCRIPT.search(frame.path):
                return frame.path
    return None


def _match(log: Log, evidence: tuple[Evidence, ...], score: float) -> LogMatch:
    script = _script(log)
    named = f"`{script}`" if script else "The script"
    cause = f"{named} starts worker processes at its top level, and every worker runs that again when it imports it."
    where = f" of `{script}`" if script else ""
    fix = Fix(
        f'Put the code at the top level{where} into `def main():`, and call it under `if __name__ == "__main__":`. '
        "Until then `num_workers=0`."
    )
    return LogMatch(score, evidence, cause, fix)


_GUARD = re.compile(r"^\s*if\s+__name__\s*==|^\s*if\s+['\"]__main__['\"]\s*==", re.MULTILINE)
_LARGEST = 4 << 20


def _probe(log: Log, here: Here) -> Answer:
    script = _script(log)
    if script is None:
        return Answer(Outcome.CANNOT_TELL, "the log does not show which script was started")
    path = Path(script) if Path(script).is_absolute() else here.root / script
    try:
        if path.stat().st_size > _LARGEST:
            return Answer(Outcome.CANNOT_TELL, f"{path} is too large to be a script")
        text = path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return Answer(Outcome.CANNOT_TELL, f"{script} is not here")
    if _GUARD.search(text):
        return Answer(Outcome.REFUTED, f"{script} has a guard; what stands outside of it still runs in every worker")
    return Answer(Outcome.CONFIRMED, f'{script} has no `if __name__ == "__main__":`')


_STARTERS = frozenset({"torch.multiprocessing.spawn", "torch.multiprocessing.start_processes"})
_TRAINERS = frozenset({"fit", "train", "test", "validate", "predict"})


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    if file.is_notebook or _GUARD.search(file.text) or not file.calls:
        return
    for call in file.calls:
        if call.name in _STARTERS and not call.function:
            message = f"`{call.method}` runs at the top level of the script, and again in each process that it starts"
            yield Hit(message, call.span, _advice())
            return
    parallel = [loader for loader in loaders(file, project=False) if loader.workers]
    started = _started(file, parallel) if parallel else None
    if started is None:
        return
    loader, line, text = started
    place = Location(file.path, line)
    level = Level.ERROR if spawns(file) else Level.WARNING
    message = (
        f"a loader with num_workers={loader.workers} is used at the top level of the script: where workers are not "
        "forked (Windows, macOS, Python 3.14) each of them runs it again"
    )
    yield Hit(message, loader.call.span, _advice(), (Evidence(text, place),), level)


def _advice() -> Fix:
    return Fix('Move the code at the top level into `def main():` and call it under `if __name__ == "__main__":`.')


def _started(file: SourceFile, parallel: list[Loader]) -> tuple[Loader, int, str] | None:
    """The loader whose workers start when the script is imported, and the line on which they do."""
    by_span = {loader.call.span: loader for loader in parallel}
    runs = _run_at_import(file)
    for loop in file.loops:
        maker = loader_behind(loop.origin)
        loader = by_span.get(maker.span) if maker is not None else None
        if loader is not None and loop.function in runs:
            return loader, loop.span.start_line, f"for {loop.target} in {loop.header}"
    for call in file.calls:
        for argument in call.arguments if call.function in runs else ():
            maker = loader_behind(argument.origin)
            loader = by_span.get(maker.span) if maker is not None else None
            trains = call.method in _TRAINERS and call.name.startswith(".") and call.receiver is not None
            if loader is not None and (call.name == "iter" or (trains and "rainer" in call.receiver)):  # type: ignore[operator]
                return loader, call.span.start_line, call.code
    return None


def _run_at_import(file: SourceFile) -> set[str]:
    """The top level, and the functions that it calls, directly or not."""
    functions = {function.name for function in file.functions}
    runs, waiting = {""}, [""]
    while waiting:
        inside = waiting.pop()
        for call in file.calls:
            if call.function == inside and _called(call) in functions and _called(call) not in runs:
                runs.add(_called(call))
                waiting.append(_called(call))
    return runs


def _called(call: CallSite) -> str:
    return call.name.removesuffix(".forward")


RULE = Rule(
    slug="missing-main-guard",
    family="data",
    title="Worker processes are started outside of a main guard",
    level=Level.ERROR,
    log=LogFacet(
        ("start a new process before", "freeze_support", "_check_not_importing_main", "broken pipe", "__mp_main__"),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("DataLoader", "multiprocessing"), _examine_source),
    before=absent("the engine is a module, started from the command line behind a guard"),
    during=absent("workers fail to start before the first step"),
    module=__name__,
)
