"""The weights that are to be loaded are not where the settings say.

What happens
------------
`FileNotFoundError: [Errno 2] No such file or directory: 'checkpoints/model.pth'` from `torch.load`, or, worse, a
line `no checkpoint found at ...` after which the run goes on with random weights.

Why
---
The weights were never downloaded; the path is a placeholder of a README; it is relative to another folder than the
one the program was started in; the option was left empty; the run that should have written the file ended before
its first save.

How to confirm
--------------
`ls -l` the path of the message, from the folder the program is started in.

Fix
---
Download the file, or give the path as an absolute one. A program that is told to load weights should stop when they
are missing.

When it is something else
-------------------------
A file that is there and cannot be read is a corrupt or unsafe checkpoint. A file of the data set is `missing-file`.
A name of a model hub that cannot be reached is a network problem.

Sources
-------
- `torch.load`: https://docs.pytorch.org/docs/stable/generated/torch.load.html
- Saving and loading models: https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
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
    slug="missing-checkpoint",
    family="weights",
    title="The checkpoint is not there",
    level=Level.ERROR,
    log=LogFacet(("no such file", "no checkpoint found", "no file named", "checkpoint"), _examine_log),
    source=SourceFacet((".load", "load_file"), _examine_source),
    before=absent("filled by check"),
    during=absent("weights are loaded before the first step"),
    module=__name__,
)
