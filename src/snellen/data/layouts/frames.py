"""Videos as folders of numbered frames, with the masks of their objects in folders beside them, or without."""

from __future__ import annotations

from collections.abc import Sequence

from snellen.core.facts.data import ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.groups import frame_of
from snellen.data.layouts.pairing import pair
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.tree import Folder, Tree, join, stem_of

__all__ = ["LAYOUT", "numbered"]

_MIN_FRAMES = 3
_MASK_ENDINGS = ("_mask", "_masks", "-mask", "_gt", "_seg")
_MASK_ROOTS = ("annotations", "masks", "mask", "gt")
_VIDEO_WORDS = ("video", "clip", "seq", "frames", "gopr", "scene")


def numbered(folder: Folder) -> bool:
    """Whether all images of a folder are numbered in one row, hardly any number missing."""
    numbers: list[int] = []
    first = frame_of(stem_of(folder.images[0])) if len(folder.images) >= _MIN_FRAMES else None
    for name in folder.images if first else ():
        found = frame_of(stem_of(name))
        if first is None or found is None or found[0] != first[0]:
            return False
        numbers.append(found[1])
    if not numbers:
        return False
    values = set(numbers)
    step = min(b - a for a, b in zip(sorted(values), sorted(values)[1:], strict=False)) if len(values) > 1 else 1
    return len(values) == len(numbers) and max(values) - min(values) < 2 * step * len(values)


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


def _videos(tree: Tree) -> list[tuple[Folder, Folder | None]]:
    """Folders of numbered frames, and those of their masks."""
    rows = [folder for folder in tree.walk() if folder.rel and numbered(folder)]
    masks = _masks(tree)
    taken = {folder.rel for folder in masks.values()}
    videos = []
    for row in rows:
        if row.rel not in taken:
            _, _, inner = row.rel.partition("/")
            videos.append((row, masks.get(row.rel.casefold()) or (masks.get(inner.casefold()) if inner else None)))
    return videos


def _cut_short(tree: Tree, videos: Sequence[tuple[Folder, Folder | None]]) -> list[tuple[Folder, None]]:
    """Folders of one or two numbered images beside videos: what is left of a video."""
    known = {video.rel for video, _ in videos} | {folder.rel for folder in _masks(tree).values()}
    parents = {video.rel.rpartition("/")[0] for video, _ in videos}
    return [
        (folder, None)
        for folder in tree.walk()
        if folder.rel
        and folder.rel not in known
        and folder.rel.rpartition("/")[0] in parents
        and 0 < len(folder.images) < _MIN_FRAMES
        and all(frame_of(stem_of(name)) is not None for name in folder.images)
    ]


def _recognise(tree: Tree) -> Match | None:
    videos = _videos(tree)
    frames = sum(len(video.images) for video, _ in videos)
    masked = sum(masks is not None for _, masks in videos)
    marks = {folder.rel for folder in _masks(tree).values()}
    images = sum(len(folder.images) for folder in tree.walk() if folder.rel not in marks)
    if not videos or 2 * frames < images:
        return None
    why = f"{len(videos)} folder{'s' if len(videos) > 1 else ''} of numbered frames"
    if masked:
        return Match(80, f"{why}, {masked} with masks beside")
    said = [video for video, _ in videos if any(word in video.rel.casefold() for word in _VIDEO_WORDS)]
    named = [
        video
        for video, _ in videos
        if (frame_of(stem_of(video.images[0])) or ("",))[0] or "frame" in video.images[0].casefold()
    ]
    if 2 * len(said) >= len(videos) or ("frame" in "".join(video.images[0].casefold() for video in named[:3])):
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
    for video, masks in videos:
        images = [(stem_of(name), tree.path(video.rel, name)) for name in video.images]
        marks = [(stem_of(name), tree.path(masks.rel, name)) for name in masks.images] if masks is not None else []
        masks_of: dict[str, tuple[str, ...]] = {}
        if masks is not None:
            pairs = pair(images, marks, where=shown(masks.name))
            problems += pairs.problems
            masks_of = dict(pairs.found)
        for stem, path in images:
            index = (frame_of(stem) or ("", None))[1]
            samples.append(Sample(path, "frame", group=video.rel, index=index, masks=masks_of.get(path, ())))
    taken = {folder.rel for pair_of in videos for folder in pair_of if folder is not None}
    loose = [tree.path(folder.rel, name) for folder, name in tree.images() if folder.rel not in taken]
    problems += counted("stray-file", loose, len(samples) + len(loose), "images {is} in no video and left out")
    return Contents(samples, problems=tuple(problems))


LAYOUT = Layout("frames", _recognise, _read)
"""Videos, one folder each."""
