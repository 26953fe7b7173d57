"""No sample was found where the data should be.

What happens
------------
`ValueError: num_samples should be a positive integer value, but got num_samples=0`, `Found no valid file for the
classes`, `Couldn't find any class folder`, or, where nothing checks, an epoch that ends at once and a
`ZeroDivisionError` in `total_loss / len(loader)`.

Why
---
The path is wrong or relative to another folder than the one the program was started in; the split has another name
or case (`Train`, `train`); the files end in `.JPG` where `.jpg` is looked for; there is one level of folders too
many after unpacking; a filter throws everything away.

How to confirm
--------------
`ls` the path in the message, from the folder the program is started in. Count what the pattern finds:
`len(list(Path(root).rglob("*.jpg")))`.

Fix
---
Point at the folder that holds the samples, use an absolute path, look for endings without regard to case, and let
the program state how many samples each split has before it starts.

When it is something else
-------------------------
A division by zero that counts something else than samples: boxes, matches, classes. A data set that is there but
whose files cannot be decoded is `corrupt-image`.

Sources
-------
- `torchvision.datasets.ImageFolder`: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
- `torch.utils.data.RandomSampler`: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.RandomSampler
"""

from __future__ import annotations

from snellen.core.finding import Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, absent

__all__ = ["RULE"]


def _examine(log: Log) -> LogMatch | None:
    return None


RULE = Rule(
    slug="empty-dataset",
    family="data",
    title="No samples were found",
    level=Level.ERROR,
    log=LogFacet(("num_samples", "found 0", "found no", "no images", "division by zero", "class folder"), _examine),
    source=absent("only the folder tells how many samples there are"),
    before=absent("filled by check"),
    during=absent("a loader without samples fails before the first step"),
    module=__name__,
)
