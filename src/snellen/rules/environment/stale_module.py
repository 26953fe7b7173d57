"""A running notebook keeps using the old version of a module that was changed.

What happens
------------
After `git pull`, an edit or `pip install --upgrade` in a notebook, the old code still runs: the bug that was mended
is back, old debug prints appear, the version printed is the old one, a name that the file surely has cannot be
imported.

Why
---
Python imports a module once and keeps it in `sys.modules` until the process ends. A second `import` looks there,
not at the disk. A package that was upgraded while parts of it were loaded is half old and half new.

How to confirm
--------------
`import inspect, model; print(inspect.getsource(model)[:500])` reads the file,
`model.some_function.__code__.co_consts` shows what runs. If a restart of the kernel helps, this was it.

Fix
---
Restart the kernel after a `git pull` or `pip install`, and put both in front of all imports. While editing:
`%load_ext autoreload`, `%autoreload 2`; or `importlib.reload(module)` followed by the `from module import ...`
lines.

When it is something else
-------------------------
The wrong file is imported, not an old one: print `module.__file__`; two copies of the project are
`wrong-project-root`.

Sources
-------
- Python, the module cache: https://docs.python.org/3/reference/import.html#the-module-cache
- `importlib.reload`: https://docs.python.org/3/library/importlib.html#importlib.reload
- IPython, autoreload: https://ipython.readthedocs.io/en/stable/config/extensions/autoreload.html
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.log import Log, LogLine, LogMatch
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, Import, SourceFile, Span

__all__ = ["RULE"]


_COLAB = re.compile(
    r"packages were previously imported in this runtime|must restart the runtime in order to use newly"
    r"|\[autoreload of \S+ failed"
)
_INSTALLED = re.compile(r"^Successfully installed (?P<items>.+)$")
_OLD = re.compile(r"Found existing installation: (?P<name>[\w.-]+) (?P<version>[\w.]+)")
_PULLED = re.compile(r"^ ?(?P<path>[\w./-]+\.py)\s+\|\s+\d+ [+-]")
_IMPORTED = re.compile(r"cannot import name '\w+' from '(?P<a>[\w.]+)'|module '(?P<b>[\w.]+)' has no attribute")


def _examine_log(log: Log) -> LogMatch | None:
    told = log.search(_COLAB.pattern)
    others = {error.name for error in log.exceptions} - {"ImportError", "AttributeError", "ModuleNotFoundError"}
    if told is not None and not others:
        return _match((told.evidence,), "A package was upgraded after this kernel had imported it.", 0.9)
    return _printed_old(log) or _changed(log)


def _printed_old(log: Log) -> LogMatch | None:
    """The version that was uninstalled is still the one that is printed."""
    old = {found["version"]: line for line in log.lines if (found := _OLD.search(line.text))}
    installed = next((line for line in log.find(_INSTALLED.pattern)), None)
    if installed is None:
        return None
    for line in log.lines:
        if line.number > installed.number and line.text.strip() in old:
            before = old[line.text.strip()]
            cause = f"{installed.text.strip()}, but version {line.text.strip()} is still in use."
            return _match((before.evidence, installed.evidence, line.evidence), cause, 0.9)
    return None


def _changed(log: Log) -> LogMatch | None:
    """A name is missing in a module that was pulled or installed a few lines before."""
    changed: dict[str, LogLine] = {}
    for line in log.lines:
        pulled, installed = _PULLED.match(line.text), _INSTALLED.match(line.text)
        if pulled:
            changed[pulled["path"].rpartition("/")[2].removesuffix(".py")] = line
        for item in installed["items"].split() if installed else ():
            changed[item.rpartition("-")[0].replace("-", "_").lower()] = line
    for error in log.exceptions:
        found = _IMPORTED.search(error.message)
        module = (found["a"] or found["b"]) if found else ""
        cause_line = changed.get(module.rpartition(".")[2]) or changed.get(module.partition(".")[0].lower())
        if cause_line is not None and cause_line.number < error.line:
            cause = f"`{module}` was changed on disk after this process had imported it."
            return _match((cause_line.evidence, error.evidence), cause, 0.75)
    return None


def _match(evidence: tuple[Evidence, ...], cause: str, score: float) -> LogMatch:
    return LogMatch(
        score,
        evidence,
        cause,
        Fix("Restart the kernel, then run the cells from the top; install and pull before importing."),
    )


_PULL = re.compile(r"\bgit\b.*\b(?:pull|checkout|switch|reset)\b")
_UPGRADE = re.compile(r"\bpip3? install\b(?P<what>.*)")
_RELOADS = re.compile(r"autoreload|reload\(|sys\.modules|spec_from_file_location|kill\(|do_shutdown")
_LIBRARIES = frozenset(
    [
        "torch",
        "torchvision",
        "torchmetrics",
        "torchaudio",
        "numpy",
        "pandas",
        "PIL",
        "cv2",
        "matplotlib",
        "seaborn",
        "sklearn",
        "skimage",
        "scipy",
        "timm",
        "transformers",
        "tqdm",
        "yaml",
        "albumentations",
        "IPython",
        "google",
        "kaggle",
        "kagglehub",
        "kaggle_secrets",
        "wandb",
        "lightning",
        "pytorch_lightning",
        "accelerate",
        "datasets",
        "einops",
        "safetensors",
        "huggingface_hub",
        "requests",
        "psutil",
        "tensorflow",
        "keras",
        "ultralytics",
        "snellen",
        "rich",
        "ipywidgets",
        "plotly",
    ]
)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    if not file.is_notebook or _RELOADS.search(file.text) or any(_RELOADS.search(c.code) for c in file.shell):
        return
    for command in file.shell:
        span = Span(command.line, 0, command.line, len(command.code) + 1)
        upgrade = _UPGRADE.search(command.code)
        if _PULL.search(command.code):
            own = next((item for item in file.imported if _is_own(item)), None)
            if own is not None:
                message = f"`{own.module}` stays as it was imported first: a pull does not change a running kernel"
                yield Hit(message, span, _advice(own.module))
        elif upgrade:
            words = {re.split(r"[=<>\[~!]", word)[0].replace("-", "_").lower() for word in upgrade["what"].split()}
            early = (item for item in file.imported if item.line < command.line)
            loaded = next((item for item in early if item.module.partition(".")[0].lower() in words), None)
            if loaded is not None:
                message = f"`{loaded.module}` is imported before this line installs it: the kernel keeps the old one"
                yield Hit(message, span, Fix("Install before the first import, or restart the kernel afterwards."))


def _is_own(item: Import) -> bool:
    top = item.module.partition(".")[0]
    return bool(top) and top not in _LIBRARIES and top not in sys.stdlib_module_names


def _advice(module: str) -> Fix:
    return Fix(
        "Put `%load_ext autoreload` and `%autoreload 2` in the first cell, or restart the kernel after the pull, "
        f"or `importlib.reload` {module}."
    )


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    for module in plan.fact("stale_modules"):
        changed = ", ".join(module.changed[:5]) + (", ..." if len(module.changed) > 5 else "")
        what = "its file is gone" if module.how == "deleted" else f"on disk these are different: {changed}"
        yield Finding(
            "stale-module",
            Level.WARNING,
            f"{module.name} was loaded before it changed; {what}",
            Location(module.path),
            fix=Fix(
                "Restart the kernel, or `from snellen.check import reload_stale_modules; reload_stale_modules()` and "
                "make models and loaders again."
            ),
        )


RULE = Rule(
    slug="stale-module",
    family="environment",
    title="An old version of a module is still in use",
    level=Level.WARNING,
    log=LogFacet(
        ("restart the runtime", "autoreload of", "previously imported", "successfully installed", "fast-forward"),
        _examine_log,
    ),
    source=SourceFacet(("git pull", "pip install"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("what is imported is settled before the first step"),
    module=__name__,
)
