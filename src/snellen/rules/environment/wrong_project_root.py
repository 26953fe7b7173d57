"""The project's own package cannot be imported, because Python starts looking in another folder.

What happens
------------
`ModuleNotFoundError: No module named 'utils'` (or `models`, `src`, the project's own name), although the folder is
there. Or `ImportError: cannot import name 'build_model' from 'project' (unknown location)`.

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
A library that is not installed: the name is one of PyPI and not a folder of the project. Look for it with `pip show
NAME`.

Sources
-------
- Python, how `sys.path` is initialised: https://docs.python.org/3/library/sys_path_init.html
- PEP 420, namespace packages ("unknown location"): https://peps.python.org/pep-0420/
- `python -m`: https://docs.python.org/3/using/cmdline.html#cmdoption-m
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile, Span

__all__ = ["RULE"]


_MISSING = re.compile(r"No module named ['\"]?(?P<module>[\w.]+)['\"]?(?P<package>; .* is not a package)?")
_HOLLOW = re.compile(r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)' \(unknown location\)")
_RELATIVE = re.compile(r"attempted relative import (?:with no known parent package|beyond top-level package)")
_OWN_NAMES = frozenset(
    [
        "src",
        "util",
        "utils",
        "lib",
        "libs",
        "model",
        "models",
        "dataset",
        "dataloader",
        "dataloaders",
        "data",
        "config",
        "configs",
        "core",
        "common",
        "modules",
        "network",
        "networks",
        "net",
        "nets",
        "layers",
        "losses",
        "loss",
        "metrics",
        "engine",
        "trainer",
        "train",
        "tools",
        "helpers",
        "helper",
        "scripts",
        "backbone",
        "backbones",
        "options",
        "transforms",
        "preprocess",
        "evaluation",
        "inference",
    ]
)
"""What projects call their own folders; no library that is imported under such a name is meant."""


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        if error.name not in ("ModuleNotFoundError", "ImportError"):
            continue
        hollow, missing = _HOLLOW.search(error.message), _MISSING.search(error.message)
        if hollow:
            return _hollow(error, hollow["module"])
        if _RELATIVE.search(error.message):
            cause = "A file inside a package was started as a script, so Python does not know its package."
            return LogMatch(0.8, _evidence(error), cause, Fix(_module_call(error)))
        if missing:
            match = _missing(error, missing["module"], shadowed=bool(missing["package"]))
            if match:
                return match
    return None


def _hollow(error: LoggedException, module: str) -> LogMatch:
    top = module.partition(".")[0]
    cause = f"`{module}` is found as a folder without `__init__.py`, most often the outer one of a clone `{top}/{top}`."
    fix = Fix(
        f'`python -c "import {top}; print({top}.__path__)"` shows the folder; move it away, or start in `{top}/`.'
    )
    return LogMatch(0.8, _evidence(error), cause, fix)


def _missing(error: LoggedException, module: str, *, shadowed: bool) -> LogMatch | None:
    top = module.partition(".")[0]
    if shadowed:
        cause = f"Another file called `{top}.py` is found before the project's folder `{top}`."
        return LogMatch(
            0.75, _evidence(error), cause, Fix(f"Rename that file, or put the project first: {_path_call(error)}")
        )
    in_path = any(f"/{top}/" in frame.path.replace("\\", "/") and not frame.in_library for frame in error.frames)
    # Python names the part that it could not find: with a dot in it, the first part was found.
    if "." not in module and (top in _OWN_NAMES or in_path):
        cause = f"`{top}` is a folder of the project itself, and the project's root is not on `sys.path`."
        return LogMatch(0.8, _evidence(error), cause, Fix(f"{_path_call(error)} Or: {_module_call(error)}"))
    return None


def _evidence(error: LoggedException) -> tuple[Evidence, ...]:
    frame = error.user_frame
    return (error.evidence, *((frame.evidence,) if frame else ()))


def _script(error: LoggedException) -> str:
    first = next((frame.path for frame in error.frames if frame.path.endswith(".py")), "tools/train.py")
    return first.replace("\\", "/")


def _path_call(error: LoggedException) -> str:
    return f"From the project's root: `PYTHONPATH=. python {_script(error)}`."


def _module_call(error: LoggedException) -> str:
    parts = _script(error).removesuffix(".py").split("/")[-2:]
    return f"As a module, from the folder above its package: `python -m {'.'.join(parts)}`."


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
    for module, loaded, expected in project.shadowed:
        yield Finding(
            "wrong-project-root",
            Level.ERROR,
            f"`import {module}` gives {loaded}, the run's code is {expected}",
            Location(expected),
            fix=Fix(f"Start in {project.root}, and take the other copy out of sys.path."),
        )


RULE = Rule(
    slug="wrong-project-root",
    family="environment",
    title="The project's own package is not found",
    level=Level.ERROR,
    log=LogFacet(("no module named", "cannot import name", "relative import"), _examine_log),
    source=SourceFacet(("git clone", "sys.path"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("imports are settled before the first step"),
    module=__name__,
)
