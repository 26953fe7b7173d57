"""Videos as folders of numbered frames, with the masks of their objects in folders beside them, or without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from snellen.core.facts.data import ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.groups import frame_of
from snellen.data.layouts.pairing import pair
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.tree import Folder, Tree, join, stem_of

__all__ = ["LAYOUT"]

_MIN_FRAMES = 3
_STRANGERS = 0.25
"""Share of other images that a folder of frames may hold."""
_MASK_ENDINGS = ("_mask", "_masks", "-mask", "_gt", "_seg")
_MASK_ROOTS = ("annotations", "masks", "mask", "gt")
_VIDEO_WORDS = ("video", "clip", "seq", "frames", "gopr", "scene")


@dataclass(frozen=True, slots=True)
class _Video:
    folder: Folder
    frames: tuple[str, ...]
    masks: Folder | None = None


def _frames_in(folder: Folder) -> tuple[str, ...]:
    """The images of a folder that are numbered in one row, hardly any number missing; `()` if most are not.

    A copy or a cover among them does not unmake the video.
    """
    found = {name: frame_of(stem_of(name)) for name in folder.images}
    rows = Counter(one[0] for one in found.values() if one is not None)
    first, count = rows.most_common(1)[0] if rows else ("", 0)
    if count < _MIN_FRAMES or len(found) - count > _STRANGERS * len(found):
        return ()
    row = {name: one[1] for name, one in found.items() if one is not None and one[0] == first}
    values = sorted(set(row.values()))
    step = min((b - a for a, b in pairwise(values)), default=1)
    whole = len(values) == len(row) and values[-1] - values[0] < 2 * step * len(values)
    return tuple(row) if whole else ()


def _masks(tree: Tree) -> dict[str, Folder]:
    """Folders of masks by the place of the frames they belong to."""
    masks: dict[str, Folder] = {}
    for folder in tree.walk():
        parent, _, name = folder.rel.rpartition("/")
        if not folder.images or not folder.rel:
            continue
        for ending in _MASK_ENDINGS:
            if name.casefold().endswith(ending):
                masks[join(parent, name[: -len(ending)]).casefold()] = folder
        first, _, rest = folder.rel.partition("/")
        if first.casefold() in _MASK_ROOTS and rest:
            masks[rest.casefold()] = folder
    return masks


def _videos(tree: Tree) -> list[_Video]:
    """Folders of numbered frames, and those of their masks."""
    masks = _masks(tree)
    taken = {folder.rel for folder in masks.values()}
    videos = []
    for folder in tree.walk():
        frames = _frames_in(folder) if folder.rel and folder.rel not in taken else ()
        if frames:
            _, _, inner = folder.rel.partition("/")
            beside = masks.get(folder.rel.casefold()) or (masks.get(inner.casefold()) if inner else None)
            videos.append(_Video(folder, frames, beside))
    return videos


def _cut_short(tree: Tree, videos: Sequence[_Video]) -> list[_Video]:
    """Folders of one or two numbered images beside videos: what is left of a video."""
    known = {video.folder.rel for video in videos} | {folder.rel for folder in _masks(tree).values()}
    parents = {video.folder.rel.rpartition("/")[0] for video in videos}
    return [
        _Video(folder, tuple(folder.images))
        for folder in tree.walk()
        if folder.rel
        and folder.rel not in known
        and folder.rel.rpartition("/")[0] in parents
        and 0 < len(folder.images) < _MIN_FRAMES
        and all(frame_of(stem_of(name)) is not None for name in folder.images)
    ]


def _recognise(tree: Tree) -> Match | None:
    videos = _videos(tree)
    frames = sum(len(video.frames) for video in videos)
    masked = sum(video.masks is not None for video in videos)
    marks = {folder.rel for folder in _masks(tree).values()}
    images = sum(len(folder.images) for folder in tree.walk() if folder.rel not in marks)
    if not videos or 2 * frames < images:
        return None
    why = f"{len(videos)} folder{'s' if len(videos) > 1 else ''} of numbered frames"
    if masked:
        return Match(80, f"{why}, {masked} with masks beside")
    said = [video for video in videos if any(word in video.folder.rel.casefold() for word in _VIDEO_WORDS)]
    firsts = [video.frames[0].casefold() for video in videos]
    named = [name for name in firsts if (frame_of(stem_of(name)) or ("",))[0] or "frame" in name]
    if 2 * len(said) >= len(videos) or "frame" in "".join(named[:3]):
        return Match(78, why)
    # Numbers alone count the pictures of a class as often.
    return Match(50, why)


def _read(tree: Tree) -> Contents:
    videos = _videos(tree)
    if not videos:
        return not_there(tree, "folder of numbered frames")
    videos += _cut_short(tree, videos)
    samples: list[Sample] = []
    problems: list[ListingProblem] = []
    for video in videos:
        rel, masks = video.folder.rel, video.masks
        images = [(stem_of(name), tree.path(rel, name)) for name in video.folder.images]
        row = {tree.path(rel, name) for name in video.frames}
        masks_of: dict[str, tuple[str, ...]] = {}
        if masks is not None:
            marks = [(stem_of(name), tree.path(masks.rel, name)) for name in masks.images]
            pairs = pair(images, marks, where=shown(masks.name))
            problems += pairs.problems
            masks_of = dict(pairs.found)
        for stem, path in images:
            index = (frame_of(stem) or ("", None))[1] if path in row else None
            samples.append(Sample(path, "frame", group=rel, index=index, masks=masks_of.get(path, ())))
    taken = {folder.rel for video in videos for folder in (video.folder, video.masks) if folder is not None}
    loose = [tree.path(folder.rel, name) for folder, name in tree.images() if folder.rel not in taken]
    problems += counted("stray-file", loose, len(samples) + len(loose), "images {is} in no video and left out")
    return Contents(samples, problems=tuple(problems))


LAYOUT = Layout("frames", _recognise, _read)
"""Videos, one folder each."""
