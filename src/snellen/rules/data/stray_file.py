"""A data folder holds files that are no data: remains of systems, downloads that did not end, archives.

What happens
------------
`PIL.UnidentifiedImageError: cannot identify image file '._IMG_0001.jpg'`, where files are found by their suffix.
`FileNotFoundError: Found no valid file for the classes .ipynb_checkpoints` or one class too many in
`torchvision.datasets.ImageFolder`, which takes every folder for a class. Or nothing: images are missing that still
lie in an archive or in a download that did not end.

Why
---
macOS writes `._NAME` beside each file on foreign disks and `__MACOSX` into archives, Jupyter `.ipynb_checkpoints`,
Windows `Thumbs.db`; browsers keep `.part` or `.crdownload` until a download is whole.

How to confirm
--------------
`find FOLDER -name '.*' -o -name '*.part' -o -name '*.zip'` lists them. Snellen passes over hidden files and what
systems leave behind, other loaders do not.

Fix
---
Delete what was left behind (`find FOLDER -name '._*' -delete`), fetch again what did not arrive, unpack archives
and move them away.

When it is something else
-------------------------
A file with the name of an image that cannot be decoded is `corrupt-image`. Images outside of all class folders are
a matter of the layout.

Sources
-------
- torchvision, ImageFolder: https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html
- AppleDouble files: https://en.wikipedia.org/wiki/AppleSingle_and_AppleDouble_formats
"""

from __future__ import annotations

from collections.abc import Iterator

from snellen.core.audits import trouble_findings
from snellen.core.facts.names import NameTrouble
from snellen.core.finding import Finding, Fix, Level
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, Rule, absent

__all__ = ["RULE"]


_HARMFUL: tuple[NameTrouble, ...] = ("looks-like-image", "unfinished-download")
_TROUBLES: tuple[NameTrouble, ...] = (*_HARMFUL, "packed", "left-behind")


def _examine(plan: Plan) -> Iterator[Finding]:
    said = "entries are no data"
    fix = Fix("Delete what was left behind, fetch again what did not arrive, unpack archives and move them away.")
    yield from trouble_findings(plan, "stray-file", _TROUBLES, _HARMFUL, said, fix)


RULE = Rule(
    slug="stray-file",
    family="data",
    title="A data folder holds files that are no data",
    level=Level.NOTE,
    log=absent("the image that cannot be read is told by corrupt-image"),
    source=absent("only the folder tells what lies in it"),
    before=BeforeFacet(Cost.SECONDS, _examine),
    during=absent("which files there are no step tells"),
    module=__name__,
)
