"""Walking a folder: circles, odd names, closed and vanished places; nothing of it may end the walk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snellen.data.layouts import read_layout
from snellen.data.layouts.tree import walk_tree
from snellen.errors import DataError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_names_in_natural_order_junk_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a/p10.png", "a/p9.PNG", "a/deep/x.jpg", "a/notes.md", "a/Thumbs.db", ".git/c.png", "b/LICENSE")
    tree = walk_tree(tmp_path)
    assert [folder.rel for folder in tree.walk()] == ["", "a", "a/deep", "b"]
    assert tree.folders["a"].images == ("p9.PNG", "p10.png")
    assert dict(tree.suffixes) == {".png": 2, ".jpg": 1, ".md": 1, "no suffix": 1}
    assert tree.path("a", "p9.PNG") == f"{tmp_path}/a/p9.PNG"
    assert tree.problems == ()


def test_circles_and_broken_links_are_said(tmp_path: Path) -> None:
    touch(tmp_path / "data", "real/p.png")
    touch(tmp_path, "elsewhere/q.png")
    (tmp_path / "data" / "real" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "alias").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data" / "real")
    (tmp_path / "data" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    tree = walk_tree(tmp_path / "data")
    assert sorted(name for _, name in tree.images()) == ["p.png", "q.png"]
    assert {problem.kind: problem.count for problem in tree.problems} == {"broken-link": 1, "circular-link": 2}


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_utf_8_can_be_said(tmp_path: Path) -> None:
    place = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY))
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    listing = read_layout(tmp_path, key="data.train")
    assert listing.problems == ()  # names are another fact's matter, see `unportable-name`
    assert Path(listing.samples[0].image).exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_pipes_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    touch(tmp_path, "a.png")
    listing = read_layout(tmp_path, key="data.train")
    assert len(listing.samples) == 1
    assert listing.others == (("no plain file", 1),)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "open/a.png", "closed/b.png")
    (tmp_path / "closed").chmod(0)
    try:
        tree = walk_tree(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)
    assert [problem.kind for problem in tree.problems] == ["unreadable-folder"]


def test_too_many_files_and_too_deep_folders_are_said(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.png" for number in range(20)))
    tree = walk_tree(tmp_path, max_entries=10)
    assert len(tree.top.images) == 10
    assert tree.problems[0].kind == "unlisted-folder"
    touch(tmp_path, "deep/" + "d/" * 50 + "x.png")
    assert [problem.kind for problem in walk_tree(tmp_path).problems] == ["unlisted-folder"]


def test_what_is_no_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    for place, message in (
        (tmp_path / "a.png", "is a file"),
        (tmp_path / "b", "does not exist"),
        ("nul\0", "does not exist"),
    ):
        with pytest.raises(DataError, match=message):
            read_layout(place, key="data.train")
