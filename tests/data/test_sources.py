"""Images from folders, patterns, lists, tables and shards."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as tables
import pytest

from pictures import make_pictures
from snellen.data.name_set import NameSet
from snellen.data.pictures import read_picture
from snellen.data.sources import open_sources
from snellen.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    return make_pictures(tmp_path / "photos", 12)


def shard(path: Path, files: list[Path]) -> Path:
    with tarfile.open(path, "w") as packed:
        for file in files:
            packed.add(file, f"inside/{file.name}")
        note = tarfile.TarInfo("inside/label.json")
        note.size = 2
        packed.addfile(note, io.BytesIO(b"{}"))
        packed.addfile(tarfile.TarInfo("inside/._hidden.png"), io.BytesIO(b""))
    return path


def test_a_folder_is_read_in_natural_order_and_what_is_passed_over_is_counted(photos: list[Path]) -> None:
    folder = photos[0].parent
    (folder / "notes.csv").touch()
    source = open_sources([folder])
    assert [ref.path for ref in source] == photos
    assert source.count() == 12
    assert source.skipped == {".csv": 1}


def test_an_image_that_is_named_twice_comes_once(photos: list[Path]) -> None:
    source = open_sources([photos[0].parent, photos[3], photos[4]])
    assert len(list(source)) == 12
    assert source.skipped["named twice"] == 2


def test_patterns_stand_for_images_lists_and_shards(photos: list[Path], tmp_path: Path) -> None:
    assert len(list(open_sources([photos[0].parent / "0000[1-3].png"]))) == 3
    shard(tmp_path / "a.tar", photos[:2])
    shard(tmp_path / "b.tar", photos[2:5])
    assert len(list(open_sources([tmp_path / "*.tar"]))) == 5
    with pytest.raises(DataError, match="matches"):
        open_sources([tmp_path / "*.jp2"])


def test_a_list_names_files_from_its_own_folder(photos: list[Path], tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"# mine\nphotos/00002.png\n\n{photos[5]}\nphotos/gone.png\n", encoding="utf-8")
    refs = list(open_sources([listed]))
    assert [ref.path.name for ref in refs] == ["00002.png", "00005.png", "gone.png"]
    with pytest.raises(DataError, match="does not exist"):
        refs[2].read()


def test_members_of_a_shard_are_read_in_place(photos: list[Path], tmp_path: Path) -> None:
    source = open_sources([shard(tmp_path / "s.tar", photos)])
    refs = list(source)
    assert source.count() == len(refs) == 12
    assert refs[7].name == f"{tmp_path / 's.tar'}::inside/00007.png"
    assert refs[7].read() == photos[7].read_bytes()
    assert source.skipped == {".json": 1, "hidden": 1}


def test_a_folder_of_shards_is_as_good_as_the_shards(photos: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    shard(folder / "10.tar", photos[6:])
    shard(folder / "9.tar", photos[:6])
    names = [ref.name.rpartition("/")[2] for ref in open_sources([folder])]
    assert names == [path.name for path in photos]


def test_a_shard_that_is_cut_short_loses_what_is_cut(photos: list[Path], tmp_path: Path) -> None:
    path = shard(tmp_path / "s.tar", photos)
    path.write_bytes(path.read_bytes()[: 7 * 3000])
    refs = list(open_sources([path, photos[0]]))
    assert refs[-1].path == photos[0]
    assert refs[0].read() == photos[0].read_bytes()
    with pytest.raises(DataError, match=r"cut short|no readable tar"):
        refs[-2].read()


def test_tables_hold_paths_or_bytes(photos: list[Path], tmp_path: Path) -> None:
    by_path = tmp_path / "paths.parquet"
    tables.write_table(pa.table({"path": ["photos/00001.png", str(photos[2]), ""], "label": [1, 2, 3]}), by_path)
    refs = list(open_sources([by_path]))
    assert [ref.path for ref in refs[:2]] == [photos[1], photos[2]]
    with pytest.raises(DataError, match="is empty"):
        refs[2].read()
    by_bytes = tmp_path / "bytes.parquet"
    column = [{"bytes": path.read_bytes(), "path": path.name} for path in photos]
    tables.write_table(pa.table({"image": column}), by_bytes)
    source = open_sources([by_bytes])
    refs = list(source)
    assert source.count() == 12
    assert refs[3].name == f"{by_bytes}::3"
    assert refs[3].read() == photos[3].read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.tar", b"no tar at all", "no readable tar"),
        ("x.parquet", b"PAR1 nothing", "no readable Parquet"),
        ("x.tar.gz", b"\x1f\x8b", "compressed"),
        ("x.txt", b"# nothing\n", "names no image"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_when_it_is_opened(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        open_sources([tmp_path / name])


def test_a_table_without_images_names_its_columns(tmp_path: Path) -> None:
    tables.write_table(pa.table({"width": [1], "height": [2]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="width, height"):
        open_sources([tmp_path / "t.parquet"])


def test_a_name_that_is_no_text_can_be_stored(photos: list[Path]) -> None:
    odd = os.fsdecode(bytes(photos[0].parent) + b"/\xff\xfe.png")
    Path(odd).write_bytes(photos[0].read_bytes())
    (ref,) = [ref for ref in open_sources([photos[0].parent]) if "\\x" in ref.name]
    assert ref.name.encode("utf-8").endswith(rb"\xff\xfe.png")
    assert ref.read() == photos[0].read_bytes()


def test_a_set_of_names_forgets_none() -> None:
    seen = NameSet()
    assert all(seen.add(f"image-{index}") for index in range(20_000))
    assert not any(seen.add(f"image-{index}") for index in range(0, 20_000, 7))
    assert len(seen) == 20_000
    assert "image-20000" not in seen


def test_pictures_are_upright_and_keep_their_mode(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 20), 90).save(path, exif=exif)
    picture = read_picture(path)
    assert (picture.image.size, picture.image.mode) == ((20, 30), "L")
    assert "orientation 6" in picture.notes[0]


def test_all_sources_that_cannot_be_read_are_named_at_once(photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "torn.tar").write_bytes(b"torn" * 300)
    tables.write_table(pa.table({"image": [1, 2]}), tmp_path / "numbers.parquet")
    with pytest.raises(DataError, match="4 of the sources") as refused:
        open_sources([tmp_path / "torn.tar", photos[0], "nowhere", "none*.png", tmp_path / "numbers.parquet"])
    for word in ("torn.tar is no readable tar", "nowhere does not exist", "matches none*.png", "image is of int64"):
        assert word in str(refused.value)


def test_an_empty_first_row_does_not_hide_the_others(photos: list[Path], tmp_path: Path) -> None:
    tables.write_table(pa.table({"image": [None, photos[0].read_bytes()]}), tmp_path / "rows.parquet")
    assert [bool(ref.problem) for ref in open_sources([tmp_path / "rows.parquet"])] == [True, False]
