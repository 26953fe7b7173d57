"""The project's own package cannot be imported, because Python starts looking in another folder.

What happens
------------
`ModuleNotFoundError: No module named 'utils'` (or `models`, `src`, the project's own name), although the folder is
there. Or `ImportError: cannot import name 'build_model' from 'project' (unknown location)`. The same from inside
`torch.load`: a checkpoint that holds a whole pickled model wants the module that defined its class.

Why
---
`python tools/train.py` puts `tools/` on `sys.path`, not the folder it is started in. A repository cloned while
standing inside its own folder lies at `project/project`, and the outer, empty one is found first. A package of the
same name that is installed hides the project's own.

How to confirm
--------------
`python -c "import sys; print(sys.path[0])"`, and `find . -name utils -maxdepth 3`. After a clone in a notebook:
`!ls project` shows `project` again.

Fix
---
Start from the project's root as `python -m tools.train`, or set `PYTHONPATH=.`, or install the project once with
`pip install -e .`. A nested clone: move to the inner folder, or delete it and clone once from the parent folder.

When it is something else
-------------------------
The name of a library, not of a folder of the project: `missing-package`. A part of a package that is found while the
package is (`No module named 'models.net'`, and there is a `models/`): the repository was published without that file.
Old code that still runs in a notebook: `stale-module`.

Sources
-------
- Python, how `sys.path` is initialised: https://docs.python.org/3/library/sys_path_init.html
- PEP 420, namespace packages ("unknown location"): https://peps.python.org/pep-0420/
- `python -m`: https://docs.python.org/3/using/cmdline.html#cmdoption-m
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from snellen.core.facts.environment import ImportedModule
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.known.packages import OWN_NAMES
from snellen.core.log import Frame, Log, LoggedException, LogMatch
from snellen.core.logs.modules import MissingModule, Owner, missing_modules
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile, Span

__all__ = ["RULE"]


_HOLLOW = re.compile(r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)' \(unknown location\)")
_RELATIVE = re.compile(r"attempted relative import (?:with no known parent package|beyond top-level package)")
_HUB_CACHE = re.compile(r"[/\\]torch[/\\]hub[/\\]|[/\\]torch[/\\]hub\.py$")
_INSTALLED = re.compile(r"cannot import name '(?P<name>\w+)' from '(?P<module>\w+)(?:\.[\w.]+)?' \((?P<path>[^)\n]+)\)")


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        if error.name not in ("ModuleNotFoundError", "ImportError"):
            continue
        if hollow := _HOLLOW.search(error.message):
            return _hollow(error, hollow["module"])
        if _RELATIVE.search(error.message):
            cause = "A file inside a package was started as a script, so Python does not know its package."
            return LogMatch(0.8, _evidence(error), cause, Fix(_module_call(error)))
        if (other := _INSTALLED.search(error.message)) and (match := _hidden(error, other)):
            return match
    # The last one is what ended the program.
    return next((match for module in reversed([*missing_modules(log)]) if (match := _missing(module))), None)


def _hidden(error: LoggedException, other: re.Match[str]) -> LogMatch | None:
    """A package of the same name that is installed is found instead of the project's own."""
    top, path = other["module"], other["path"]
    if top not in OWN_NAMES or not Frame(path, 0, "").in_library:
        return None
    cause = f"`{top}` is taken from {path}, an installed package, and not from the project's own folder."
    fix = Fix(f"Put the project first: {_path_call(error, top)} Or rename the project's `{top}`.")
    return LogMatch(0.8, _evidence(error), cause, fix)


def _hollow(error: LoggedException, module: str) -> LogMatch:
    top = module.partition(".")[0]
    cause = f"`{module}` is found as a folder without `__init__.py`, most often the outer one of a clone `{top}/{top}`."
    fix = Fix(
        f'`python -c "import {top}; print({top}.__path__)"` shows the folder; move it away, or start in `{top}/`.'
    )
    return LogMatch(0.8, _evidence(error), cause, fix)


def _missing(missing: MissingModule) -> LogMatch | None:
    error, top = missing.error, missing.top
    answer = _answer(missing, error) if error is not None else None
    if error is None or answer is None:
        return None
    return LogMatch(0.8 if missing.owner is Owner.PROJECT and top in OWN_NAMES else 0.75, _evidence(error), *answer)


def _answer(missing: MissingModule, error: LoggedException) -> tuple[str, Fix] | None:
    """Cause and fix, `None` when the module is not the project's."""
    top = missing.top
    if missing.unpickling:
        cause = f"The checkpoint holds a whole pickled model, whose class lives in `{missing.name}` of the project."
        return cause, Fix("Load it from that project's root, and save `model.state_dict()` instead of the model.")
    if missing.shadowed:
        cause = f"Another file called `{top}.py` is found before the project's folder `{top}`."
        return cause, Fix(f"Rename that file, or put the project first: {_path_call(error, top)}")
    if missing.owner is Owner.NOBODY and top in OWN_NAMES and any(_HUB_CACHE.search(f.path) for f in error.frames):
        cause = f"`{top}` of another project is imported already, and `torch.hub` looks in it for `{missing.name}`."
        text = f"Load the model by torch.hub before anything else imports `{top}`, or rename the project's `{top}`."
        return cause, Fix(text)
    if missing.owner is not Owner.PROJECT:
        return None
    if top not in OWN_NAMES:
        cause = f"`{top}` is this project's own package, and neither installed nor on `sys.path`."
        return cause, Fix(f"From the project's root: `pip install -e .`, or `PYTHONPATH=. python {_script(error)}`.")
    cause = f"`{top}` is a folder of the project itself, and the project's root is not on `sys.path`."
    module = f" Or: {_module_call(error)}" if "/" in _script(error) else ""
    return cause, Fix(f"{_path_call(error, top)}{module}")


def _evidence(error: LoggedException) -> tuple[Evidence, ...]:
    frame = error.user_frame
    return (error.evidence, *((frame.evidence,) if frame else ()))


def _script(error: LoggedException) -> str:
    first = next((frame.path for frame in error.frames if frame.path.endswith(".py")), "tools/train.py")
    return first.replace("\\", "/")


def _path_call(error: LoggedException, top: str) -> str:
    script = _script(error)
    if "/" in script:
        return f"From the project's root: `PYTHONPATH=. python {script}`."
    # The script's own folder is on the path already.
    return f"`find . -name '{top}*'`, and `PYTHONPATH=FOLDER python {script}` with the folder that holds it."


def _module_call(error: LoggedException) -> str:
    parts = _script(error).removesuffix(".py").split("/")[-2:]
    return f"As a module, from the folder above its package: `python -m {'.'.join(parts)}`."


_MOST_FOLDERS = 5000
_PASSED_OVER = frozenset({"site-packages", "node_modules", "__pycache__"})


def _probe(log: Log, here: Here) -> Answer:
    """Look for the module below the folder that one stands in."""
    wanted = next((m.top for m in missing_modules(log) if m.owner is Owner.PROJECT and not m.unpickling), None)
    if wanted is None:
        return Answer(Outcome.CANNOT_TELL, "the log names no module of the project that could be looked for")
    for count, (folder, folders, files) in enumerate(os.walk(here.root)):
        folders[:] = sorted(name for name in folders if name not in _PASSED_OVER and not name.startswith("."))
        if wanted in folders or f"{wanted}.py" in files:
            return Answer(Outcome.CONFIRMED, f"`{wanted}` lies in {folder}: that folder has to be on sys.path")
        if count == _MOST_FOLDERS:
            return Answer(Outcome.CANNOT_TELL, f"the first {count} folders below {here.root} hold no `{wanted}`")
    return Answer(Outcome.REFUTED, f"nothing below {here.root} is called `{wanted}`")


_CLONE = re.compile(r"\bgit clone\b(?P<words>.*)$")
_CHANGE = re.compile(r"^\s*(?:cd|chdir)\s+(?P<path>[^&;|]+)")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    if file.is_notebook:
        yield from _nested_clones(file)
        return
    for call in file.calls:
        if call.name in ("sys.path.append", "sys.path.insert") and call.arguments:
            path = call.arguments[-1]
            if isinstance(path.value, str) and not re.match(r"^(?:/|~|[A-Za-z]:|$)", path.value):
                message = f"{path.code} counts from the folder of the start, not from this file"
                fix = Fix(
                    "Install the project (`pip install -e .`), or start it as a module from its root: `python -m ...`."
                )
                yield Hit(message, call.span, fix, level=Level.WARNING)


def _nested_clones(file: SourceFile) -> Iterator[Hit]:
    """A clone while standing in a folder of the repository's own name."""
    moves = [
        (call.span.start_line, str(call.arguments[0].value)) for call in file.calls_to("os.chdir") if call.arguments
    ]
    moves += [(c.line, found["path"]) for c in file.shell if c.mark == "%" and (found := _CHANGE.match(c.code))]
    in_cell = ""
    for command in file.shell:
        inside = _CHANGE.match(command.code)
        # A `cd` of a shell cell holds to the cell's end, one behind `!` for its line only.
        in_cell = (inside["path"] if inside else in_cell) if command.mark == "%%" else ""
        before = [path for line, path in sorted(moves) if line < command.line]
        here = inside["path"] if inside else in_cell or (before[-1] if before else "")
        name = _cloned(command.code)
        if name and here.strip().strip("'\"").rstrip("/").rpartition("/")[2] == name:
            span = Span(command.line, 0, command.line, len(command.code) + 1)
            message = f"clones {name} inside the folder {name}: the package lies at {name}/{name}"
            fix = Fix(f"Clone from the parent folder, or `git pull` in {name} when it is there already.")
            yield Hit(message, span, fix)


def _cloned(command: str) -> str:
    """The folder that a `git clone` makes, `""` for another command."""
    found = _CLONE.search(command)
    words = [word for word in found["words"].split() if not word.startswith("-")] if found else []
    return words[-1].strip("'\"").rstrip("/").removesuffix(".git").rpartition("/")[2] if words else ""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    project = plan.fact("project")
    for copy in project.nested:
        inside = " The run file lies in that copy." if project.inside_nested else ""
        yield Finding(
            "wrong-project-root",
            Level.ERROR if project.inside_nested else Level.WARNING,
            f"{project.root} holds a copy of itself at {copy}: it was cloned once more inside the checkout.{inside}",
            Location(copy),
            fix=Fix(f"Work in {project.root}, take over what you changed in the copy, and remove the copy."),
        )
    yield from _not_found(plan, project.root)
    for module, loaded, expected in project.shadowed:
        yield Finding(
            "wrong-project-root",
            Level.ERROR,
            f"`import {module}` gives {loaded}, the run's code is {expected}",
            Location(expected),
            fix=Fix(f"Start in {project.root}, and take the other copy out of sys.path."),
        )


def _not_found(plan: Plan, root: str) -> Iterator[Finding]:
    """Modules with names that projects give to their own, which the run's code imports and Python would not find."""
    try:
        imports: tuple[ImportedModule, ...] = plan.fact("code").imports
    except NotApplicable:
        return
    for item in imports:
        if not item.found and not item.guarded and item.name in OWN_NAMES:
            yield Finding(
                "wrong-project-root",
                Level.WARNING,
                f"`import {item.name}` finds nothing, neither beside the file nor in {plan.root}",
                Location(item.path, item.line),
                fix=Fix(f"Start from the folder that holds `{item.name}`, or `pip install -e .` in {root}."),
            )


RULE = Rule(
    slug="wrong-project-root",
    family="environment",
    title="The project's own package is not found",
    level=Level.ERROR,
    log=LogFacet(("no module named", "cannot import name", "relative import"), _examine_log, _probe),
    source=SourceFacet(("git clone", "sys.path"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("imports are settled before the first step"),
    module=__name__,
)
