"""Symbolic links in a data folder lead nowhere, or in a circle.

What happens
------------
`FileNotFoundError: [Errno 2] No such file or directory` for a name that `ls` shows, or `OSError: [Errno 40] Too
many levels of symbolic links`. A loader that tests `is_file()` first says nothing and trains on what is left. A
walk that follows links in a circle does not end.

Why
---
A subset was made of links into a store that has moved, is not mounted on this machine or in this container;
relative links were copied to another depth; the links of a hub's cache point to blobs that were cleaned up.

How to confirm
--------------
`find FOLDER -xtype l` prints links that lead nowhere, `readlink NAME` where one should lead.

Fix
---
Mount what they lead to at the same place, make the links anew, or copy the files themselves: `cp -rL` or `rsync
--copy-links`. In a container mount the store as well as the folder of links.

When it is something else
-------------------------
A name that a list has and the folder has not is `missing-file`. A folder that may not be read is `unreadable-file`.
A link to a device or a pipe is `stray-image`.

Sources
-------
- find, -xtype: https://www.gnu.org/software/findutils/manual/html_node/find_html/Type.html
- Hugging Face Hub, the cache and its links: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from snellen.core.audits import listing_findings
from snellen.core.facts.data import ListingKind
from snellen.core.finding import Finding, Level
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]

_FIX = "Mount what the links lead to, make them anew, or copy the files themselves: cp -rL."
_BROKEN: Mapping[ListingKind, tuple[str, str]] = {"broken-link": ("broken link", _FIX)}
_CIRCULAR: Mapping[ListingKind, tuple[str, str]] = {
    "circular-link": ("circular link", "Remove the link: what it leads to is listed once already.")
}


def _examine(plan: Plan) -> Iterator[Finding]:
    folders = plan.fact("audit")
    if not folders:
        raise NotApplicable("the run names no data folder")
    yield from listing_findings(plan, folders, "broken-link", Level.ERROR, _BROKEN)
    # A circle costs no data.
    yield from listing_findings(plan, folders, "broken-link", Level.NOTE, _CIRCULAR)


RULE = Rule(
    slug="broken-link",
    family="data",
    title="Links in a data folder lead nowhere",
    level=Level.ERROR,
    log=absent("the message is that of missing-file"),
    source=absent("only the folder tells where its links lead"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("the loader raises before the step"),
    module=__name__,
)
