"""Pictures that show the same are found; pictures that only look alike from afar are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from digit_folders import make_digits
from snellen.core.facts.data import FolderAudit, Sample, Twin
from snellen.data.audit.fingerprints import MIRROR
from snellen.data.audit.pairing import MAX_BITS, close_pairs
from snellen.data.audit.scan import scan
from snellen.data.audit.twins import find_twins

NAMES = ("astronaut", "coffee", "chelsea", "rocket", "china", "flower")


def audit(files: Sequence[Path], key: str = "data.train", **samples: object) -> FolderAudit:
    found = scan([str(path) for path in files])
    listed = [Sample(str(path), **samples) for path in files]  # type: ignore[arg-type]
    return FolderAudit(key, "", "images", samples=listed, images=found.images, measured=len(found.sample))


def photographs(folder: Path, photo: Callable[[str], np.ndarray]) -> list[Path]:
    paths = []
    for name in NAMES:
        paths.append(folder / f"{name}.png")
        Image.fromarray(photo(name)).resize((320, 240)).save(paths[-1])
    return paths


def named(twins: Sequence[Twin]) -> set[tuple[str, str, str]]:
    return {(twin.kind, *sorted(Path(path).name for path in (twin.one, twin.other))) for twin in twins}


def _patched(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.paste(image.crop((200, 100, 240, 140)), (60, 40))
    return image


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda image: image.resize((160, 120)),
    "larger": lambda image: image.resize((500, 375)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "paler": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "grey": lambda image: image.convert("L"),
    "mirrored": ImageOps.mirror,
    "retouched": _patched,
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(
    tmp_path: Path, photo: Callable[[str], np.ndarray], change: str
) -> None:
    originals = photographs(tmp_path, photo)
    copies = []
    for path in originals:
        copies.append(tmp_path / f"{path.stem}-copy.jpg")
        with Image.open(path) as image:
            CHANGES[change](image).save(copies[-1], quality=60)
    found = named(find_twins([audit([*originals, *copies])]))
    assert found == {("near", f"{path.stem}-copy.jpg", path.name) for path in originals}


def test_equal_files_and_equal_pixels(tmp_path: Path, photo: Callable[[str], np.ndarray]) -> None:
    (first, *_others) = paths = photographs(tmp_path, photo)
    (tmp_path / "copy.png").write_bytes(first.read_bytes())
    with Image.open(first) as image:
        image.save(tmp_path / "packed.png", compress_level=1)
    twins = find_twins([audit([*paths, tmp_path / "copy.png", tmp_path / "packed.png"])])
    assert named(twins) == {
        ("same-file", "astronaut.png", "copy.png"),
        ("same-pixels", "astronaut.png", "packed.png"),
    }


def test_blank_pictures_are_no_twins_unless_their_files_are_equal(tmp_path: Path) -> None:
    paths = []
    for number, level in enumerate((0, 0, 90, 90, 255)):
        paths.append(tmp_path / f"{number}.png")
        Image.new("L", (60 + number, 60), level).save(paths[-1])
    assert find_twins([audit(paths)]) == ()


def test_files_that_cannot_be_decoded_are_no_twins(tmp_path: Path, photo: Callable[[str], np.ndarray]) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(photo("coffee")).save(whole)
    contents = {"empty": b"", "page": b"<html><title>404</title></html>", "cut": whole.read_bytes()[:2000]}
    for number in range(2):
        for name, content in contents.items():
            (tmp_path / f"{name}{number}.jpg").write_bytes(content)
    train, val = ([tmp_path / f"{name}{number}.jpg" for name in contents] for number in range(2))
    audits = [audit([*train, *val], "data.train"), audit(val, "data.val")]
    assert all(record.problem for one in audits for record in one.images.values())
    assert find_twins(audits) == ()


def test_twins_are_told_across_folders_and_roles(tmp_path: Path, photo: Callable[[str], np.ndarray]) -> None:
    train = photographs(tmp_path, photo)[:2]
    val = []
    for number in range(2):
        val.append(tmp_path / f"val{number}.jpg")
        with Image.open(train[0]) as image:
            image.save(val[-1], quality=40 + 40 * number)
    val.append(tmp_path / "equal.png")
    val[-1].write_bytes(train[1].read_bytes())
    twins = find_twins([audit(train, "data.train"), audit(val, "data.val")])
    assert {("near", train[0].name, path.name) for path in val[:2]} <= named(twins)
    pairs = [frozenset((twin.one, twin.other)) for twin in twins]
    assert len(pairs) == len(set(pairs))
    assert ("same-file", train[1].name, "equal.png") in named(twins)


def test_a_blurred_frame_and_its_sharp_partner_are_no_twins(tmp_path: Path, photo: Callable[[str], np.ndarray]) -> None:
    blur, sharp = tmp_path / "blur.png", tmp_path / "sharp.png"
    image = Image.fromarray(photo("coffee")).resize((300, 200))
    image.save(sharp)
    image.resize((150, 100)).resize((300, 200)).save(blur)
    found = scan([str(blur), str(sharp)])
    folder = FolderAudit(
        "data.train", "", "frame-pairs", samples=[Sample(str(blur), partner=str(sharp))], images=found.images
    )
    assert find_twins([folder]) == ()


def test_parts_of_a_photograph_are_found(tmp_path: Path, photo: Callable[[str], np.ndarray]) -> None:
    paths, parts = [], []
    for name in ("astronaut", "coffee", "rocket", "china"):
        image = Image.fromarray(photo(name))
        width, height = image.size
        paths.append(tmp_path / f"{name}.jpg")
        image.save(paths[-1])
        part = image.crop((width // 8, height // 6, width // 8 + width * 6 // 10, height // 6 + height * 6 // 10))
        parts.append(tmp_path / f"{name}-part.jpg")
        part.save(parts[-1], quality=80)
    found = named(find_twins([audit([*paths, *parts])]))
    right = {("crop", f"{path.stem}-part.jpg", path.name) for path in paths}
    assert found <= right
    assert len(found) >= 3


def test_a_hundred_equal_pictures_are_joined_by_ninety_nine_pairs(
    tmp_path: Path, photo: Callable[[str], np.ndarray]
) -> None:
    image = Image.fromarray(photo("coffee")).resize((150, 100))
    paths = []
    for number in range(30):
        paths.append(tmp_path / f"{number}.jpg")
        image.save(paths[-1], quality=60 + number)
    twins = find_twins([audit(paths)])
    joined = {path: path for path in map(str, paths)}
    for twin in twins:
        one, other = joined[twin.one], joined[twin.other]
        joined = {path: one if leader == other else leader for path, leader in joined.items()}
    assert len(set(joined.values())) == 1
    assert len(twins) == 29


@pytest.mark.parametrize("side", [28, 64])
def test_coarse_forms_of_one_kind_are_no_copies_of_each_other(tmp_path: Path, side: int) -> None:
    # Blown up from 8 x 8: all that two sixes have in common is being a six.
    make_digits(tmp_path, {"train": 120}, digits=(6,), side=side)
    digits = sorted(tmp_path.rglob("*.png"))
    with Image.open(digits[0]) as image:
        image.save(tmp_path / "copy.jpg", quality=100, subsampling=0)
    assert named(find_twins([audit([*digits, tmp_path / "copy.jpg"])])) == {("near", digits[0].name, "copy.jpg")}


def test_an_answer_is_kept_for_the_same_images_of_the_same_content(
    tmp_path: Path, photo: Callable[[str], np.ndarray]
) -> None:
    paths = photographs(tmp_path, photo)
    copy = tmp_path / "copy.png"
    Image.open(paths[0]).resize((160, 120)).save(copy)
    cache, steps = tmp_path / "cache", list[str]()

    def tell(what: str, _done: int, _total: int) -> None:
        steps.append(what)

    first = find_twins([audit([*paths, copy])], tell=tell, cache=cache)
    assert named(first) == {("near", "astronaut.png", "copy.png")}
    assert steps
    steps.clear()
    assert find_twins([audit([*paths, copy])], tell=tell, cache=cache) == first
    assert not steps
    Image.open(paths[1]).resize((160, 120)).save(copy)
    assert named(find_twins([audit([*paths, copy])], tell=tell, cache=cache)) == {("near", "coffee.png", "copy.png")}


def test_close_pairs_are_those_of_all_with_all() -> None:
    dice = np.random.default_rng(5)
    words = dice.integers(0, 2**64, 400, dtype=np.uint64)
    for place in range(200):
        turned = sum(1 << int(bit) for bit in dice.choice(64, place % 8, replace=False))
        words[place + 200] = words[place] ^ np.uint64(turned)
    for mirror in (0, MIRROR):
        other = words ^ np.uint64(mirror)
        expected = {
            (i, j) for i in range(400) for j in range(i + 1, 400) if (int(words[i]) ^ int(other[j])).bit_count() <= 7
        }
        found = {
            (i, j): bits
            for one, two, distances in close_pairs(words, other)
            for i, j, bits in zip(one.tolist(), two.tolist(), distances.tolist(), strict=True)
        }
        assert expected <= set(found)
        for (i, j), bits in found.items():
            assert bits == (int(words[i]) ^ int(other[j])).bit_count() <= MAX_BITS
