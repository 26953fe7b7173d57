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
    slug="wrong-project-root",
    family="environment",
    title="The project's own package is not found",
    level=Level.ERROR,
    log=LogFacet(("no module named", "cannot import name", "relative import"), _examine_log),
    source=SourceFacet(("git clone", "sys.path"), _examine_source),
    before=absent("filled by check"),
    during=absent("imports are settled before the first step"),
    module=__name__,
)
