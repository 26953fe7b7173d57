"""Blurred and sharp frames, with spike streams beside them or without: for every sequence, or for all in one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from snellen.core.facts.data import ListingProblem, Sample
from snellen.data.layouts.base import Contents, Layout, Match, not_there
from snellen.data.layouts.groups import frame_of
from snellen.data.layouts.pairing import pair
from snellen.data.layouts.problems import counted, shown
from snellen.data.layouts.tree import Folder, Tree, join, stem_of, suffix_of

__all__ = ["BLUR", "LAYOUT", "SHARP"]

BLUR = (
    *("blur", "blurred", "blur_gamma", "blurry", "input", "lq"),
    *(f"{split}_blur{end}" for split in ("train", "val", "test") for end in ("", "_comp")),  # As REDS has them.
)
"""Names of folders of blurred frames."""
SHARP = ("sharp", "gt", "target", "groundtruth", "hq", "train_sharp", "val_sharp", "test_sharp")
"""Names of folders of sharp frames."""
_SPIKE = ("spike", "spikes", "spike_vox", "voxel", "voxels")
_STREAMS = {".dat", ".bin"}
_GRIDS = {".npy", ".pt"}
_OTHERS = {".npz", ".h5"}


@dataclass(frozen=True, slots=True)
class _Sequence:
    folder: Folder
    blur: str | None
    sharp: str | None
    spikes: tuple[str, ...]


def _sequences(tree: Tree) -> list[_Sequence]:
    found = []
    for folder in tree.walk():
        folded = {name.casefold(): name for name in folder.folders}
        spikes = tuple(join(folder.rel, folded[name]) for name in _SPIKE if name in folded)
        blur, sharp = folder.child(BLUR), folder.child(SHARP)
        if (blur is not None and sharp is not None) or (spikes and (blur is not None or sharp is not None)):
            found.append(_Sequence(folder, blur, sharp, spikes))
    if found:
        # A sequence beside complete ones may lack one of its folders, or all but one.
        known = {one.folder.rel for one in found}
        parents = {rel.rpartition("/")[0] for rel in known if rel}
        for folder in tree.walk():
            if folder.rel and folder.rel not in known and folder.rel.rpartition("/")[0] in parents:
                blur, sharp = folder.child(BLUR), folder.child(SHARP)
                if blur is not None or sharp is not None or folder.child(_SPIKE) is not None or not folder.folders:
                    found.append(_Sequence(folder, blur, sharp, ()))
    return found


def _recognise(tree: Tree) -> Match | None:
    sequences = _sequences(tree)
    filled = [one for one in sequences for place in (one.blur, one.sharp) if place and tree.holds_images(place)]
    if not filled:
        return None
    first = sequences[0]
    names = [shown(tree.folders[place].name) for place in (first.blur, first.sharp, *first.spikes) if place]
    if len(sequences) == 1 and not first.folder.rel:
        return Match(91, f"the folders {', '.join(names)}")
    return Match(94, f"{len(sequences)} sequences with the folders {', '.join(names)}")


def _read(tree: Tree) -> Contents:
    sequences = _sequences(tree)
    if not sequences:
        return not_there(tree, "sequence with folders of blurred and sharp frames, such as blur and sharp")
    samples: list[Sample] = []
    problems: list[ListingProblem] = list(_folder_problems(tree, sequences))
    used: set[str] = set()
    lonely: list[str] = []
    unblurred: list[str] = []
    spikeless: list[str] = []
    folded: list[str] = []
    sharp_count = 0
    for one in sequences:
        streams = _streams(tree, one.spikes)
        used.update(path for found in streams.values() for path in found.values())
        inputs, targets = _images(tree, one.blur), _images(tree, one.sharp)
        beside = _Beside(streams, frozenset(name for name, _ in (*inputs, *targets)))
        if one.blur is None:
            samples += [
                _sample(one.folder, name, path, beside, partner=None, bare=True) for name, path in inputs or targets
            ]
            continue
        pairs = pair(inputs, targets)
        for (name, path), (_, partners) in zip(inputs, pairs.found, strict=True):
            partner = partners[0] if partners else None
            samples.append(_sample(one.folder, name, path, beside, partner=partner, bare=False))
            lonely += [path] * (not partners and one.sharp is not None)
            spikeless += [path] * any(found and name not in found for found in streams.values() if len(found) > 1)
        folded += [path for problem in pairs.problems if problem.kind == "other-case" for path in problem.paths]
        unblurred += pairs.unused
        sharp_count += len(targets)
    blurred = len(samples)
    problems += [
        *counted("image-without-partner", lonely, blurred, "blurred frames {has} no sharp frame of their name"),
        *counted("partner-without-image", unblurred, sharp_count, "sharp frames {has} no blurred frame of their name"),
        *counted("image-without-spikes", spikeless, blurred, "frames {has} no spike file of their name, others do"),
        *counted("other-case", folded, sharp_count, "sharp frames {has} the name of a blurred one but for its case"),
    ]
    return Contents(samples, problems=tuple(problems), used=frozenset(used))


def _folder_problems(tree: Tree, sequences: Sequence[_Sequence]) -> Iterator[ListingProblem]:
    count = len(sequences)
    wanted = {
        "blurred frames": ([one.blur is not None for one in sequences], BLUR),
        "sharp frames": ([one.sharp is not None for one in sequences], SHARP),
        "spikes": ([bool(one.spikes) for one in sequences], _SPIKE),
    }
    for what, (there, _) in wanted.items():
        # What no sequence has is not missing: it is another kind of set.
        if any(there) and not all(there):
            without = [tree.path(one.folder.rel) for one, has in zip(sequences, there, strict=True) if not has]
            yield from counted("missing-folder", without, count, f"sequences {{has}} no folder of {what}")
    places = [place for one in sequences for place in (one.blur, one.sharp) if place is not None]
    empty = [tree.path(place) for place in places if tree.is_empty(place)]
    yield from counted("empty-folder", empty, len(places), "folders of frames {is} empty")
    odd = [place for place in places if tree.folders[place].name != tree.folders[place].name.casefold()]
    if odd and len(odd) < len(places):
        yield from counted(
            "other-case",
            [tree.path(place) for place in odd],
            len(places),
            "folders {is} spelled in other case than the rest",
        )


def _images(tree: Tree, rel: str | None) -> list[tuple[str, str]]:
    if rel is None:
        return []
    return [
        (join(folder.rel[len(rel) :].lstrip("/"), stem_of(name)), tree.path(folder.rel, name))
        for folder, name in tree.images(rel)
    ]


def _streams(tree: Tree, places: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for place in places:
        found[place] = {
            join(folder.rel[len(place) :].lstrip("/"), stem_of(name)): tree.path(folder.rel, name)
            for folder in tree.walk(place)
            for name in folder.files
            if suffix_of(name) in _STREAMS | _GRIDS | _OTHERS
        }
    return found


@dataclass(frozen=True, slots=True)
class _Beside:
    """The streams and voxel grids of a sequence, and the names of its frames."""

    streams: Mapping[str, Mapping[str, str]]
    names: frozenset[str]

    def of(self, name: str, suffixes: set[str]) -> str | None:
        """The file of a frame's name; or the only one, named after no frame, which then belongs to all of them.

        A stream is cut for them. A grid cannot be: its bins would be the same for every frame.
        """
        for found in self.streams.values():
            whole = next(iter(found.items())) if len(found) == 1 else None
            path = found.get(name)
            if path is None and whole and whole[0] not in self.names and (suffixes == _STREAMS or len(self.names) < 2):
                path = whole[1]
            if path is not None and suffix_of(path.rpartition("/")[2]) in suffixes:
                return path
        return None


def _sample(folder: Folder, name: str, path: str, beside: _Beside, *, partner: str | None, bare: bool) -> Sample:
    inner, _, stem = name.rpartition("/")
    found = frame_of(stem)
    group = "/".join(part for part in (folder.rel, inner) if part)
    if found is not None and found[0] and not group:
        group = found[0]
    index = found[1] if found is not None and group else None
    return Sample(
        path,
        "frame" if bare else "",
        group=group,
        index=index,
        partner=partner,
        spikes=beside.of(name, _STREAMS),
        voxels=beside.of(name, _GRIDS),
    )


LAYOUT = Layout("frame-pairs", _recognise, _read)
"""Deblurring, with spikes or without."""
