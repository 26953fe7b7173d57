"""Files or folders of the data may not be read by the user that the run belongs to.

What happens
------------
`PermissionError: [Errno 13] Permission denied` from a loader worker, when the first such file is drawn; a folder
that may not be listed looks empty to `glob` and `os.walk`, and its images are silently missing.

Why
---
Files written by a container as root, an archive unpacked with the modes of another system, a store shared by
groups, a mask (`umask 077`) of one of several authors.

How to confirm
--------------
`find FOLDER ! -readable` as the user of the run; `ls -l NAME` and `id`.

Fix
---
`chmod -R a+rX FOLDER` by the owner of the files. In a container run as the user that owns them (`docker run
--user`).

When it is something else
-------------------------
A file that can be read and not decoded is `corrupt-image`. A cache that may not be written is `cache-permission`.

Sources
-------
- chmod: https://www.gnu.org/software/coreutils/manual/html_node/chmod-invocation.html
- docker run, --user: https://docs.docker.com/reference/cli/docker/container/run/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from snellen.core.audits import file_evidence, listed, share, short
from snellen.core.facts.data import FolderAudit
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_DENIED = re.compile(r"permission denied|not permitted|\bEACCES\b|\bmay not be read\b", re.IGNORECASE)


def _examine(plan: Plan) -> Iterator[Finding]:
    folders: Sequence[FolderAudit] = plan.fact("audit")
    if not folders:
        raise NotApplicable("the run names no data folder")
    for folder in folders:
        shut = [problem for problem in folder.problems if problem.kind == "unreadable-folder"]
        closed = [path for problem in shut for path in problem.paths]
        denied = [record.path for record in folder.images.values() if _DENIED.search(record.problem)]
        if not closed and not denied:
            continue
        parts = [f"{share(len(denied), len(folder.images))} images"] if denied else []
        parts += [f"{sum(problem.count for problem in shut)} folders"] if closed else []
        yield Finding(
            "unreadable-file",
            Level.ERROR,
            f"{folder.key}: {' and '.join(parts)} may not be read: {listed([short(path) for path in closed + denied])}",
            setting_place(plan, folder.key),
            file_evidence((path, "permission denied") for path in closed + denied),
            Fix("Let their owner allow it.", command=f"chmod -R a+rX {folder.path}"),
        )


RULE = Rule(
    slug="unreadable-file",
    family="data",
    title="Files of the data may not be read",
    level=Level.ERROR,
    log=absent("a permission error names its file itself"),
    source=absent("only the disk tells who may read"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the loader raises before the step"),
    module=__name__,
)
