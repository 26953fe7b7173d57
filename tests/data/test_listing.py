"""Finding images, hashing lists, splitting by scene."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.data.listing import find_images, hash_file_list, natural_key
from snellen.data.splitting import scene_of, split_by_group
from snellen.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_files_folders_and_patterns_each_once_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "a/p10.png", "a/p9.PNG", "a/deep/p1.jpg", "b/x.tif", "b/notes.txt", "a/Thumbs.db", "a/._p9.png")
    touch(tmp_path, "a/__MACOSX/p.png")
    found = find_images([tmp_path / "a", tmp_path / "a" / "p9.PNG", f"{tmp_path}/b/*"])
    assert [path.name for path in found.files] == ["p9.PNG", "p10.png", "x.tif"]
    assert found.skipped == {"Thumbs.db": 1, "hidden": 1, "__MACOSX": 1, "not an image by its suffix": 1}
    deep = find_images(tmp_path / "a", recursive=True)
    assert [path.name for path in deep.files] == ["p1.jpg", "p9.PNG", "p10.png"]


def test_a_file_named_by_itself_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "scan.dat")
    assert find_images(tmp_path / "scan.dat").files == (tmp_path / "scan.dat",)


def test_circles_of_links_end(tmp_path: Path) -> None:
    touch(tmp_path, "a/p.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert len(find_images(tmp_path, recursive=True).files) == 1


@pytest.mark.parametrize(
    ("made", "asked", "message", "hint", "slug"),
    [
        ("Train/a.png", "train", "does not exist", "upper and lower case differ", "missing-file"),
        ("train/a.png", "trian", "does not exist", "train", "missing-file"),
        ("train/a.PNG", "train/a.png", "does not exist", "upper and lower case differ", "missing-file"),
        ("train/a.png", "train/a.jpg", "does not exist", "a.png", "missing-file"),
        ("train/a.png", "x/y/z.png", "neither does the folder", "you are in", "missing-file"),
        ("train/deep/a.png", "train", "no image in", "folders below", "empty-dataset"),
        ("train/a.txt", "train", "1 .txt passed over", "expected files such as", "empty-dataset"),
    ],
)
def test_nothing_found_says_what_is_there(
    tmp_path: Path, made: str, asked: str, message: str, hint: str, slug: str
) -> None:
    if (tmp_path / "PROBE").touch() is None and (tmp_path / "probe").exists():
        pytest.skip("the file system does not tell upper from lower case")
    (tmp_path / "PROBE").unlink()
    touch(tmp_path, made)
    with pytest.raises(DataError, match=message) as caught:
        find_images(tmp_path / asked)
    assert hint in str(caught.value.hint)
    assert caught.value.slug == slug


def test_natural_order_is_total_for_odd_names() -> None:
    names = ["10", "9", "a", "A10", "a2", "", "²", "٣", "_", "a-1", "1a"]
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


def test_hash_changes_with_names_sizes_and_contents_but_not_with_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a.png", tmp_path / "b.png"
    first.write_bytes(b"123")
    second.write_bytes(b"456")
    base = hash_file_list([first, second])
    assert base == hash_file_list([second, first])
    assert base != hash_file_list([first])
    full = hash_file_list([first, second], contents=True)
    second.write_bytes(b"654")
    assert hash_file_list([first, second]) == base
    assert hash_file_list([first, second], contents=True) != full
    second.write_bytes(b"6543")
    assert hash_file_list([first, second]) != base
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "a.png").write_bytes(b"123")
    assert hash_file_list([first], root=tmp_path) == hash_file_list([moved / "a.png"], root=moved)
    with pytest.raises(DataError, match=r"gone\.png"):
        hash_file_list([tmp_path / "gone.png"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 1.0])
def test_splits_keep_scenes_together_and_do_not_move(seed: int, fraction: float) -> None:
    files = [Path(f"scene{number}{end}.png") for number in range(40) for end in ("", "_copy", "_orig")]
    first, second = split_by_group(files, fraction=fraction, seed=seed)
    assert sorted(first + second) == sorted(files)
    assert not {scene_of(path) for path in first} & {scene_of(path) for path in second}
    assert (not second) == (fraction == 0)
    assert (not first) == (fraction == 1)
    some, _ = split_by_group(files[:60], fraction=fraction, seed=seed)
    assert set(some) <= set(first)


def test_a_share_between_leaves_no_side_empty() -> None:
    files = [Path("a.png"), Path("b.png")]
    for fraction in (0.001, 0.999):
        assert all(split_by_group(files, fraction=fraction, seed=1))
