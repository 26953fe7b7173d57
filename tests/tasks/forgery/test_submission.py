"""Run lengths and submission files; the reference encodes pixel by pixel."""

from __future__ import annotations

import csv
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from snellen.cli.main import app
from snellen.errors import DataError, RunFolderError
from snellen.tasks.forgery.submission import (
    PixelOrder,
    RunStyle,
    SubmissionWriter,
    decode_rle,
    encode_rle,
    image_sizes,
    read_submission,
    validate_submission,
    write_submission,
)

ORDERS: tuple[PixelOrder, ...] = ("columns", "rows")
STYLES: tuple[RunStyle, ...] = ("json", "spaces")


def slow_runs(mask: np.ndarray, order: PixelOrder) -> list[int]:
    height, width = mask.shape
    places = [(y, x) for x in range(width) for y in range(height)]
    if order == "rows":
        places = [(y, x) for y in range(height) for x in range(width)]
    runs: list[int] = []
    before = False
    for number, place in enumerate(places, start=1):
        if mask[place] and not before:
            runs += [number, 1]
        elif mask[place]:
            runs[-1] += 1
        before = bool(mask[place])
    return runs


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("seed", range(12))
def test_encoding_is_that_of_the_plain_loop_and_comes_back(order: PixelOrder, style: RunStyle, seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random(generator.integers(1, 30, 2)) < generator.choice(
        [0.0, 0.05, 0.5, 0.95, 1.0], p=[0.1, 0.3, 0.3, 0.2, 0.1]
    )
    text = encode_rle(mask, order=order, style=style)
    runs = slow_runs(mask, order)
    assert text == (str(runs) if style == "json" else " ".join(map(str, runs)))
    np.testing.assert_array_equal(decode_rle(text, mask.shape, order=order), mask)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "expected whole numbers"),
        ("1.5 2", "expected whole numbers"),
        ("[1, 2, 3]", "odd count"),
        ("[99999999999999999999, 1]", "too large"),
        ("[0, 1]", "must lie in pixels 1 to 6"),
        ("[6, 2]", "must lie in pixels 1 to 6"),
        ("[1, 0]", "must lie in pixels 1 to 6"),
        ("[-3, 1]", "must lie in pixels 1 to 6"),
    ],
)
def test_decoding_refuses(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_rle(text, (2, 3))


def test_overlapping_runs_decode_to_their_union() -> None:
    assert decode_rle("[1, 3, 2, 4]", (6, 1)).reshape(-1).tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("style", STYLES)
def test_files_read_back_as_they_were_and_are_csv(tmp_path: Path, order: PixelOrder, style: RunStyle) -> None:
    generator = np.random.default_rng(1)
    several = generator.random((3, 9, 14)) > 0.6
    several[1] = False
    rows = {"a,b": several, 'say "x"': several[0], "empty": np.zeros((9, 14), bool), "none": []}
    path = tmp_path / "s.csv"
    assert write_submission(path, rows.items(), order=order, style=style) == 4
    with path.open(newline="", encoding="utf-8") as file:
        plain = list(csv.reader(file))
    assert plain[0] == ["case_id", "annotation"]
    assert [row[0] for row in plain[1:]] == list(rows)
    read = dict(read_submission(path))
    assert {name: ";".join(texts) or "authentic" for name, texts in read.items()} == dict(plain[1:])
    assert len(read["a,b"]) == 2
    np.testing.assert_array_equal(decode_rle(read["a,b"][1], (9, 14), order=order), several[2])
    assert (read["empty"], read["none"]) == ([], [])
    assert validate_submission(path, images=dict.fromkeys(rows, (9, 14)), order=order) == []


def test_a_failed_write_leaves_no_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("old", encoding="utf-8")
    mask = np.ones((2, 2), bool)
    with pytest.raises(DataError, match="'a' is written twice"):
        write_submission(path, [("a", mask), ("a", mask)])
    with pytest.raises(DataError, match="is empty"):
        write_submission(path, [(" ", mask)])
    with pytest.raises(DataError, match="shape"), SubmissionWriter(path) as writer:
        writer.add("a", [np.ones(3, bool)])
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.csv"]
    assert path.read_text(encoding="utf-8") == "old"
    with pytest.raises(RunFolderError, match="cannot write"):
        write_submission(tmp_path / "absent" / "s.csv", [])


SIZES = {"a": (10, 8), "b": (10, 8), "c": None}


def problems_of(tmp_path: Path, text: str, **options: object) -> list[str]:
    path = tmp_path / "s.csv"
    path.write_bytes(text.encode())
    return [str(problem) for problem in validate_submission(path, **{"images": SIZES, **options})]


GOOD = 'case_id,annotation\na,"[1, 2, 5, 1];[7, 2]"\nb,authentic\nc,1 4 9 2\n'


def test_a_good_file_has_no_problems_in_any_line_ending(tmp_path: Path) -> None:
    assert problems_of(tmp_path, GOOD) == []
    assert problems_of(tmp_path, GOOD.replace("\n", "\r\n")) == []
    assert problems_of(tmp_path, GOOD.rstrip("\n")) == []
    assert problems_of(tmp_path, GOOD, images=None) == []
    assert problems_of(tmp_path, GOOD, images=["a", "b", "c"]) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("case_id,annotation", "id,rle", "line 1: header is 'id,rle'"),
        ("case_id,annotation", "\ufeffcase_id,annotation", "line 1: begins with a byte order mark"),
        ("case_id,annotation\n", "", "line 1: header is"),
        ("b,authentic", "b,Authentic", "line 3 (b): 'Authentic' must be written"),
        ("b,authentic", "b, authentic", "line 3 (b): ' authentic' must be written"),
        ("b,authentic", "b,", "line 3 (b): annotation is empty"),
        ("b,authentic", "b", "line 3 (b): 1 field, expected 2"),
        ("b,authentic", "b,[1,2]", "line 3 (b): 3 fields, expected 2; runs written with commas need quotes"),
        ("b,authentic", "b,authentic;1 2", "line 3 (b): authentic is mixed with runs"),
        ("b,authentic", "b,[]", "line 3 (b): no run"),
        ("b,authentic", "b,1 2 3", "line 3 (b): 3 numbers, an odd count"),
        ("b,authentic", "b,1 x", "line 3 (b): expected whole numbers"),
        ("b,authentic", "b,0 2", "line 3 (b): run 1 starts at 0"),
        ("b,authentic", "b,1 0", "line 3 (b): run 1 has length 0"),
        ("b,authentic", "b,9 1 3 1", "line 3 (b): run 2 starts at 3, before run 1 at 9: not sorted"),
        ("b,authentic", "b,3 5 6 1", "line 3 (b): run 2 starts at 6, inside run 1, which ends at 7"),
        ("b,authentic", "b,79 3", "line 3 (b): run 1 (79, 3) ends at 81, the image has 80 pixels (8 x 10)"),
        ("b,authentic", "b,1 1;", "line 3 (b): mask 2: expected whole numbers"),
        ("b,authentic", "b,1 1;79 3", "line 3 (b): mask 2: run 1 (79, 3)"),
        ("b,authentic", "b ,authentic", "line 3 (b ): id 'b ' has blanks"),
        ("b,authentic", ",authentic", "line 3: id is empty"),
        ("b,authentic", "b.png,authentic", "line 3 (b.png): unknown id, which is b with a suffix"),
        ("b,authentic", "a,authentic", "line 3 (a): id was given in line 2 already"),
        ("b,authentic\n", "", "file: 1 of 3 images is missing: b"),
        ("b,authentic\n", "b,authentic\n\n", "line 4: blank line"),
    ],
)
def test_every_problem_is_found_with_its_line(tmp_path: Path, before: str, after: str, expected: str) -> None:
    found = problems_of(tmp_path, GOOD.replace(before, after, 1))
    assert any(problem.startswith(expected) for problem in found), found


def test_all_problems_at_once_in_order_and_bounded(tmp_path: Path) -> None:
    text = "case,annotation\n" + "".join(f"x{number},1 2 3\n" for number in range(50))
    found = problems_of(tmp_path, text, limit=30)
    assert len(found) == 31
    assert found[-1] == "file: 72 more problems are not listed"
    assert problems_of(tmp_path, "") == [
        "line 1: the file is empty, expected the header case_id,annotation",
        "file: there is no image in the file",
        "file: 3 of 3 images are missing: a, b, c",
    ]


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(b"case_id,annotation\n\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        validate_submission(tmp_path / "s.csv")
    with pytest.raises(DataError, match="does not exist"):
        validate_submission(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="cannot be read"):
        validate_submission(tmp_path)


@pytest.mark.parametrize("size", [(300, 500), (500, 300), (400, 460)])
@pytest.mark.parametrize("shape", ["disc", "box", "ring"])
@pytest.mark.parametrize("written", ORDERS)
@pytest.mark.parametrize("expected", ORDERS)
def test_the_other_numbering_is_suspected_and_the_right_one_is_not(
    tmp_path: Path, size: tuple[int, int], shape: str, written: PixelOrder, expected: PixelOrder
) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.hypot(y - 140, x - 180)
    mask = {
        "disc": distance < 60,
        "ring": (distance < 70) & (distance > 30),
        "box": (abs(y - 99) < 30) & (abs(x - 80) < 50),
    }
    write_submission(tmp_path / "s.csv", [("a", mask[shape])], order=written)
    found = validate_submission(tmp_path / "s.csv", images={"a": size}, order=expected)
    if written == expected:
        assert found == []
    elif shape != "ring":  # two runs a line leave no clear step
        assert any(f"numbered along the {written}, expected {expected}" in str(problem) for problem in found)


def test_memory_does_not_grow_with_the_number_of_lines(tmp_path: Path) -> None:
    line = "," + encode_rle(np.random.default_rng(0).random((150, 150)) > 0.5, style="spaces") + "\n"
    path, peaks = tmp_path / "s.csv", []
    for count in (3, 60):
        path.write_text("case_id,annotation\n" + "".join(f"c{n}{line}" for n in range(count)), encoding="utf-8")
        tracemalloc.start()
        assert validate_submission(path, images={f"c{number}": (150, 150) for number in range(count)}) == []
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def test_sizes_come_from_headers(tmp_path: Path) -> None:
    Image.new("L", (7, 5)).save(tmp_path / "a.png")
    assert image_sizes([tmp_path / "a.png"]) == {"a": (5, 7)}


def test_an_image_that_cannot_be_read_must_be_answered_all_the_same(tmp_path: Path) -> None:
    Image.new("L", (7, 5)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    path = tmp_path / "submission.csv"
    write_submission(path, [("a", np.eye(5, 7, dtype=bool)), ("b", np.eye(50, dtype=bool))])
    validated = CliRunner().invoke(app, ["forgery", "validate", str(path), "--images", str(tmp_path)])
    assert (validated.exit_code, "no problems" in validated.output) == (0, True), validated.output
    assert "of 1 images the size cannot be read, so their ranges are not checked: b" in validated.output
    write_submission(path, [("a", np.eye(5, 7, dtype=bool))])
    refused = json.loads(
        CliRunner().invoke(app, ["forgery", "validate", str(path), "--images", str(tmp_path), "--json"]).stdout
    )
    assert refused["images_not_read"] == ["b"]
    assert "1 of 2 images is missing: b" in refused["problems"][0]


def test_a_name_that_is_no_text_is_written_and_found_again(tmp_path: Path) -> None:
    photo = tmp_path / os.fsdecode(b"caf\xe9.png")
    try:
        Image.new("RGB", (10, 8)).save(photo)
    except OSError as error:
        pytest.skip(f"this file system takes names of text only: {error}")
    path = tmp_path / "submission.csv"
    write_submission(path, [(photo.stem, np.eye(8, 10, dtype=bool))])
    assert path.read_text(encoding="utf-8").splitlines()[1].startswith("caf\\udce9,")
    assert list(validate_submission(path, images=image_sizes([photo]))) == []
