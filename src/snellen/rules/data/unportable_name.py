"""Names of files or folders do not survive the way to another machine.

What happens
------------
`OSError: [Errno 36] File name too long`, `[Errno 22] Invalid argument` or `UnicodeEncodeError: 'utf-8' codec can't
encode character` while a set is copied, unpacked or uploaded; or `FileNotFoundError` for a file that everybody
sees. Two names that differ only in case become one file on Windows and macOS: one image is lost and nothing is
said. `cv2.imread` gives `None` for names beyond ASCII on Windows.

Why
---
Titles of web pages and prompts as file names; macOS stores letters with accents decomposed, Linux as they are
typed, so that equal names compare as different; Windows refuses `<>:"|?*`, names such as `aux`, a dot or a blank at
the end, and paths of over 260 characters; encrypted file systems take 143 bytes.

How to confirm
--------------
`find FOLDER | LC_ALL=C grep -P '[^ -~]'` prints names beyond ASCII, `find FOLDER | sort -f | uniq -di` those that
differ only in case.

Fix
---
Rename before the set is packed, by a rule, together with the lists that name the files: `detox -r FOLDER`, or
`hashlib.sha1(name.encode()).hexdigest()[:16]` plus suffix.

When it is something else
-------------------------
A list that spells a name in another case than the disk is `split-case`. A link that leads nowhere is `broken-link`.

Sources
-------
- Microsoft, naming files, paths, and namespaces: https://learn.microsoft.com/en-us/windows/win32/fileio/naming-a-file
- Apple, how names are normalised: https://developer.apple.com/library/archive/qa/qa1173/_index.html
- eCryptfs, length of names: https://bugs.launchpad.net/ecryptfs/+bug/344878
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import trouble_findings
from snellen.core.facts.names import NameTrouble
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_LOST: tuple[NameTrouble, ...] = ("same-but-case", "unportable", "too-long")
_TROUBLES: tuple[NameTrouble, ...] = (*_LOST, "not-ascii")


def _examine(plan: Plan) -> Iterator[Finding]:
    said = "names do not survive every machine"
    fix = Fix("Rename them, together with the lists that name them, before the set is packed or moved.")
    yield from trouble_findings(plan, "unportable-name", _TROUBLES, _LOST, said, fix)


RULE = Rule(
    slug="unportable-name",
    family="data",
    title="Names of files do not survive another machine",
    level=Level.NOTE,
    log=absent("the errors are those of a missing file"),
    source=absent("only the folder tells what lies in it"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
