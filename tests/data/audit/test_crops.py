"""Of many parts of one photograph, as many pairs are told as it takes to join them, and every image that leaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from snellen.core.facts.data import FolderAudit, Sample
from snellen.data.audit.scan import scan
from snellen.data.audit.twins import find_twins


def nested(photo: np.ndarray, folder: Path, shares: Sequence[float]) -> list[Path]:
    """Parts of a photograph around one place, each within those before it."""
    folder.mkdir()
    image = Image.fromarray(photo)
    width, height = image.size
    paths = []
    for share in shares:
        left, top = width * (1 - share) / 3, height * (1 - share) / 2
        part = image.crop((round(left), round(top), round(left + width * share), round(top + height * share)))
        paths.append(folder / f"{folder.name}-{round(100 * share)}.jpg")
        part.save(paths[-1], quality=85)
    return paths


def audit(files: Sequence[Path], key: str) -> FolderAudit:
    found = scan([str(path) for path in files])
    samples = [Sample(str(path)) for path in files]
    return FolderAudit(key, "", "images", samples=samples, images=found.images, measured=len(found.sample))


def test_parts_of_one_photograph_are_joined_by_one_pair_less(
    tmp_path: Path, photo: Callable[[str], np.ndarray]
) -> None:
    paths = nested(photo("astronaut"), tmp_path / "train", (1.0, 0.8, 0.64, 0.51))
    twins = find_twins([audit(paths, "data.train")])
    leader = {str(path): str(path) for path in paths}
    for twin in twins:
        one, other = leader[twin.one], leader[twin.other]
        assert one != other, "a pair that tells nothing new"
        leader = {path: one if first == other else first for path, first in leader.items()}
    assert len(set(leader.values())) == 1
    assert {twin.kind for twin in twins} == {"crop"}


def test_every_part_that_lies_in_another_folder_is_told(tmp_path: Path, photo: Callable[[str], np.ndarray]) -> None:
    train = nested(photo("astronaut"), tmp_path / "train", (1.0, 0.72))
    val = nested(photo("astronaut"), tmp_path / "val", (0.85, 0.6))
    twins = find_twins([audit(train, "data.train"), audit(val, "data.val")])
    across = {(twin.one, twin.other) for twin in twins if Path(twin.one).parent != Path(twin.other).parent}
    assert {Path(other).name for _, other in across} == {path.name for path in val}
    assert {Path(one).name for one, _ in across} == {path.name for path in train}


def test_the_part_may_be_the_first_or_the_second(tmp_path: Path, photo: Callable[[str], np.ndarray]) -> None:
    (whole,) = nested(photo("astronaut"), tmp_path / "whole", (1.0,))
    (part,) = nested(photo("astronaut"), tmp_path / "part", (0.6,))
    for files in ([whole, part], [part, whole]):
        assert [twin.kind for twin in find_twins([audit(files, "data.train")])] == ["crop"]
