"""An image, mask or table that a list names is not on disk.

What happens
------------
`FileNotFoundError: [Errno 2] No such file or directory: '.../JPEGImages/081.jpg'` from inside a loader worker,
often hours into a run, when the one bad entry is drawn. OpenCV raises nothing: `imread` returns `None`, and the
next line fails with `'NoneType' object has no attribute 'shape'` or `(-215:Assertion failed) !_src.empty()`.

Why
---
The list (CSV, JSON, VOC split) is newer or older than the folder; the path is put together wrongly (a separator is
missing, two roots are joined, the ending is doubled); the path is relative and the program was started elsewhere; a
download or an unpacking ended early.

How to confirm
--------------
`ls` the path of the message. Count the entries of the list whose file is missing: one is a broken list, all are a
wrong root.

Fix
---
Check all paths of the list once, before training, and drop or mend what is missing. Test the result of `cv2.imread`
for `None`.

When it is something else
-------------------------
A file that is there and cannot be decoded is `corrupt-image`. Missing weights are `missing-checkpoint`. A folder
without any sample is `empty-dataset`.

Sources
-------
- OpenCV, `imread` returns an empty matrix: https://docs.opencv.org/4.x/d4/da8/group__imgcodecs.html
- `FileNotFoundError`: https://docs.python.org/3/library/exceptions.html#FileNotFoundError
"""

from __future__ import annotations

from snellen.core.finding import Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, absent

__all__ = ["RULE"]


def _examine(log: Log) -> LogMatch | None:
    return None


RULE = Rule(
    slug="missing-file",
    family="data",
    title="A file of the data set is not on disk",
    level=Level.ERROR,
    log=LogFacet(("no such file", "'nonetype' object", "empty()", "can't open/read file"), _examine),
    source=absent("only the disk tells which files are there"),
    before=absent("filled by check"),
    during=absent("a missing file raises in the loader, before the step"),
    module=__name__,
)
