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

from collections.abc import Iterator

from snellen.core.finding import Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


def _examine_log(log: Log) -> LogMatch | None:
    return None


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    yield from ()


RULE = Rule(
    slug="stale-module",
    family="environment",
    title="An old version of a module is still in use",
    level=Level.WARNING,
    log=LogFacet(
        ("restart the runtime", "previously imported", "successfully installed", "fast-forward"), _examine_log
    ),
    source=SourceFacet(("git pull", "pip install"), _examine_source),
    before=absent("filled by check"),
    during=absent("what is imported is settled before the first step"),
    module=__name__,
)
