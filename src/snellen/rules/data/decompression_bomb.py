"""Pillow refuses an image because it has very many pixels.

What happens
------------
`PIL.Image.DecompressionBombError: Image size (225000000 pixels) exceeds limit of 178956970 pixels, could be
decompression bomb DOS attack.` Between that limit and half of it there is only a `DecompressionBombWarning`.

Why
---
A small file can decode to an image that fills all memory, so Pillow warns above 89,478,485 pixels (256 MB of RGB) and
raises above twice that. Satellite scenes, scans and slides are that large honestly. `Image.MAX_IMAGE_PIXELS = None`
takes the check away for every image of the process: the next broken or hostile file takes all memory, and a loader
worker is killed without a word.

How to confirm
--------------
`Image.open(path).size` reads the header only and warns or raises in the same way; width times height is the number.

Fix
---
Where such images are expected, raise the limit to what you expect, for example `Image.MAX_IMAGE_PIXELS = 400_000_000`,
in every process. Better for training: cut them into tiles once (`rasterio`, `openslide`, `pyvips` read windows), or
store them smaller, since every epoch decodes the whole image anew.

When it is something else
-------------------------
`killed by signal: Killed` in a loader of such images is what happens without the check: see `worker-killed`. OpenCV
has a limit of its own, `CV_IO_MAX_IMAGE_PIXELS`.

Sources
-------
- Pillow, `Image.open` and `MAX_IMAGE_PIXELS`: https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.open
- Pillow, security: https://pillow.readthedocs.io/en/stable/handbook/security.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from snellen.core.audits import file_evidence, share, short
from snellen.core.facts.data import FolderAudit, ImageRecord, MaskRecord
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import TOO_MANY_PIXELS, find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]


_SIZE = r"Image size \((?P<pixels>\d{1,15}) pixels\) exceeds limit of (?P<limit>\d{1,15}) pixels"
_ERROR = re.compile(r"DecompressionBombError\b(?:[^\n]{0,40}?" + _SIZE + ")?", re.IGNORECASE)
_WARNING = re.compile(r"DecompressionBombWarning[^\n]{0,40}?" + _SIZE, re.IGNORECASE)
_OPENCV = re.compile(r"CV_IO_MAX_IMAGE_(?:PIXELS|WIDTH|HEIGHT)")
_LIMIT = 89_478_485


def _examine_log(log: Log) -> LogMatch | None:
    found = find_message(log, _ERROR)
    if found is not None:
        return LogMatch(0.98, found.facts, *_told(found.match["pixels"], found.match["limit"]))
    found = find_message(log, _OPENCV)
    if found is not None and found.error is not None:
        cause = "OpenCV refuses an image that has more pixels than its limit."
        fix = Fix("Set OPENCV_IO_MAX_IMAGE_PIXELS before Python starts, or cut the image into tiles once.")
        return LogMatch(0.85, found.facts, cause, fix)
    warned = list(log.find(_WARNING.pattern))
    # A warning alone is no failure, unless the program did not get past it.
    if not warned or log.exceptions or log.lines[-1].number - warned[-1].number > 2:
        return None
    found = find_message(log, _WARNING)
    return (
        LogMatch(0.55, (warned[-1].evidence,), *_told(found.match["pixels"], found.match["limit"])) if found else None
    )


def _told(pixels: str | None, limit: str | None) -> tuple[str, Fix]:
    if pixels is None or limit is None:
        return "An image has more pixels than Pillow's limit.", Fix(
            "Raise `Image.MAX_IMAGE_PIXELS` to what you expect."
        )
    count = int(pixels)
    side = math.isqrt(count)
    raised = math.ceil(count * 1.2 / 1e6) * 1_000_000
    cause = f"An image has {count:,} pixels (as a square: {side:,} x {side:,}), Pillow's limit is {int(limit):,}."
    fix = Fix(
        f"If such images are expected, write `Image.MAX_IMAGE_PIXELS = {raised:_}` where the data set is made; better, "
        "cut them into tiles once. If not, look at that file first."
    )
    return cause, fix


_TARGET = re.compile(r"(?:^|\.)MAX_IMAGE_PIXELS$")
_BOUND = 1_000_000_000
_ENDLESS = 100_000_000_000


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for item in file.assignments:
        if not _TARGET.search(item.target) or "PIL" not in file.text:
            continue
        number = isinstance(item.value, (int, float)) and item.value >= _ENDLESS
        if item.value is None or number or re.search(r"\binf\b|sys\.maxsize", item.code):
            message = "no image is too large for Pillow any more: one broken file can take all memory"
            fix = Fix(
                f"Set a limit that your images keep to, for example `{item.target} = {_BOUND:_}` (3 GB of RGB).",
                FixSafety.UNSAFE,
                "images above twice that limit raise again",
                edits=(file.edit(item.span, f"{_BOUND:_}"),),
            )
            yield Hit(message, item.span, fix)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    folders: Sequence[FolderAudit] = plan.fact("audit")
    if not any(folder.images or folder.masks for folder in folders):
        raise NotApplicable("no data folder holds an image")
    for folder in folders:
        records: dict[str, ImageRecord | MaskRecord] = {**folder.masks, **folder.images}
        bombs = [(path, record.problem) for path, record in records.items() if TOO_MANY_PIXELS.search(record.problem)]
        if bombs:
            path, why = bombs[0]
            yield Finding(
                "decompression-bomb",
                Level.ERROR,
                f"{folder.key}: {share(len(bombs), len(records))} images have more pixels than are opened: "
                f"{short(path)} {why}",
                setting_place(plan, folder.key),
                file_evidence(bombs),
                Fix("Cut these images into tiles, or store them smaller, before training."),
            )


RULE = Rule(
    slug="decompression-bomb",
    family="data",
    title="An image has more pixels than Pillow allows",
    level=Level.WARNING,
    log=LogFacet(("decompressionbomb", "cv_io_max_image"), _examine_log),
    source=SourceFacet(("MAX_IMAGE_PIXELS",), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the image is refused in the loader, before the step"),
    module=__name__,
)
