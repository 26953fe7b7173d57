"""Files of the run's own code are not under version control, so that nobody can tell later what ran.

What happens
------------
Weeks later a result cannot be made again: the run's folder names a commit, and the file that mattered was not in it.

Why
---
The commit and a hash of what differs from it are recorded with every run. A file that git does not know (or is told
to ignore) is changed or lost without a trace; on a detached HEAD even commits get lost, because no branch holds them.
Changed files that git knows are normal work, and are not told.

How to confirm
--------------
`git status --short --ignored -- CODE`: lines with `??` and `!!`; `git symbolic-ref HEAD` fails when HEAD is detached.

Fix
---
`git add FILE && git commit`, at least on a branch for experiments; `git switch -c NAME` keeps what is done on a
detached HEAD.

When it is something else
-------------------------
A copy of the repository inside itself is `wrong-project-root`; code that was changed after it was loaded is
`stale-module`.

Sources
-------
- git status: https://git-scm.com/docs/git-status
- git, detached HEAD: https://git-scm.com/docs/git-checkout#_detached_head
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.facts.environment import RepositoryFacts
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_MOST = 20


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    repository: RepositoryFacts = plan.fact("repository")
    at = f"commit {repository.commit[:10]}" if repository.commit else "no commit yet"
    if repository.untracked:
        first = ", ".join(repository.untracked[:3]) + (", ..." if len(repository.untracked) > 3 else "")
        many = f"{len(repository.untracked)} file{'s' if len(repository.untracked) > 1 else ''} of the run's code"
        yield Finding(
            "code-not-committed",
            Level.NOTE,
            f"{many} not known to git ({at}): {first}",
            Location(repository.root),
            tuple(Evidence(name) for name in repository.untracked[:_MOST]),
            Fix("Commit them, so that the run can be made again.", command=f"git add {repository.untracked[0]}"),
        )
    elif repository.commit and not repository.branch and repository.changed:
        yield Finding(
            "code-not-committed",
            Level.NOTE,
            f"HEAD is detached at {repository.commit[:10]}, and {len(repository.changed)} files of the run's code "
            "differ from it",
            Location(repository.root),
            fix=Fix("Keep them on a branch.", command="git switch -c experiment"),
        )


RULE = Rule(
    slug="code-not-committed",
    family="environment",
    title="Code of the run is not under version control",
    level=Level.NOTE,
    log=absent("a log does not say which code was committed"),
    source=absent("what git knows of a file does not stand in it"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the code of a run does not change while it runs"),
    module=__name__,
)
