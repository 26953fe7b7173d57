"""The rules about what data mean: fire on faults that were really planted, and are silent on sound folders."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plans import Known, findings
from plant import CannotPlant, planters
from plant._layouts import paired_video, support_sets
from snellen.check import CheckSettings, check
from snellen.check.run import plan_of_folder
from snellen.core.facts.data import Box, FolderAudit, ImageRecord, MaskRecord, Sample, Twin
from snellen.core.finding import Finding, Level, State
from snellen.core.plan import NotApplicable
from snellen.data.layouts import splits_of

MODULES = {f"plant.{name}" for name in ("masks", "boxes", "labels", "splits", "clips", "few_shot")}
PLANTED = [(slug, planter) for slug, planter in planters() if planter.__module__ in MODULES]
SLUGS = sorted({slug for slug, _ in PLANTED})
"""Of the rules about meaning, and of those that look for other things, too."""
CLASSES = ("bolt", "nut", "screw", "washer")
WIDTH, HEIGHT = 160, 120


def judged(folder: Path, *slugs: str, **settings: Mapping[str, object]) -> list[Finding]:
    data = {name: str(place) for name, place in splits_of(folder).items()}
    plan = plan_of_folder(folder, {"data": data, **settings})
    report = check(plan, settings=CheckSettings(select=slugs))
    crashed = [(result.slug, result.reason) for result in report.results if result.state is State.CRASHED]
    assert crashed == []
    return [finding for result in report.results for finding in result.findings]


@pytest.fixture(scope="session")
def tiles(photo: Callable[[str], np.ndarray]) -> list[Image.Image]:
    """Parts of photographs that do not overlap and are not plain."""

    def cut() -> Iterator[Image.Image]:
        for name in ("astronaut", "coffee", "china", "flower", "rocket", "chelsea"):
            whole = photo(name)
            for top in range(0, whole.shape[0] - 127, 128):
                for left in range(0, whole.shape[1] - 127, 128):
                    tile = whole[top : top + 128, left : left + 128]
                    if tile.std() > 25:
                        yield Image.fromarray(tile).resize((WIDTH, HEIGHT))

    return list(cut())


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory, tiles: list[Image.Image], photo) -> dict[str, Path]:
    """One sound folder of every layout."""
    root = tmp_path_factory.mktemp("sound")
    makers = {"classes": _classes, "numbers": _numbers, "black_and_white": _marks, "voc": _voc, "yolo": _yolo}
    for name, make in makers.items():
        (root / name).mkdir()
        make(root / name, tiles)
    _video(root / "video", photo)
    return {path.name: path for path in root.iterdir()}


def _save(path: Path, picture: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def _classes(root: Path, tiles: list[Image.Image]) -> None:
    for number, tile in enumerate(tiles[:52]):
        _save(root / CLASSES[number % 4] / f"{number:03d}.png", tile.resize((3 * WIDTH // 2, 3 * HEIGHT // 2)))


def _mask(number: int, values: tuple[int, ...]) -> Image.Image:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for index, value in enumerate(values):
        mask[10 + 20 * index : 26 + 20 * index, 12 + 3 * number : 60 + 5 * number] = value
    return Image.fromarray(mask)


def _numbers(root: Path, tiles: list[Image.Image]) -> None:
    for number, tile in enumerate(tiles[:8]):
        _save(root / "images" / f"m{number}.png", tile)
        _save(root / "masks" / f"m{number}.png", _mask(number, (1, 2, 3)))
    (root / "classes.txt").write_text("ground\nbolt\nnut\nscrew\n")


def _marks(root: Path, tiles: list[Image.Image]) -> None:
    for number, tile in enumerate(tiles[:10]):
        _save(root / "images" / f"m{number}.jpg", tile)
        _save(root / "masks" / f"m{number}.png", _mask(number, (255, 255)))


def _boxes(number: int) -> list[tuple[int, int, int, int]]:
    return [(4 + number, 5, 40 + 2 * number, 50), (100, 60, 150, 120), (60 + number, 10, 155, 30 + number)]


def _voc(root: Path, tiles: list[Image.Image]) -> None:
    for number, tile in enumerate(tiles[:12]):
        _save(root / "images" / f"v{number}.png", tile)
        objects = "".join(
            f"<object><name>{CLASSES[index]}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
            f"<ymax>{d}</ymax></bndbox></object>"
            for index, (a, b, c, d) in enumerate(_boxes(number))
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        (root / "annotations").mkdir(exist_ok=True)
        text = f"<annotation><filename>v{number}.png</filename>{size}{objects}</annotation>"
        (root / "annotations" / f"v{number}.xml").write_text(text)


def _yolo(root: Path, tiles: list[Image.Image]) -> None:
    for number, tile in enumerate(tiles[:12]):
        _save(root / "images" / f"y{number}.png", tile)
        rows = [
            f"{index} {(a + c) / 2 / WIDTH:.6f} {(b + d) / 2 / HEIGHT:.6f} {(c - a) / WIDTH:.6f} {(d - b) / HEIGHT:.6f}"
            for index, (a, b, c, d) in enumerate(_boxes(number))
        ]
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"y{number}.txt").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("bolt\nnut\nscrew\n")


def _video(root: Path, photo: Callable[[str], np.ndarray]) -> None:
    for name, whole in (("clip_walk", photo("china")), ("clip_ride", photo("astronaut"))):
        for index in range(18):
            left = 12 * index
            _save(root / name / f"{index:05d}.png", Image.fromarray(whole[100:260, left : left + 240]))


@pytest.mark.parametrize(("slug", "planter"), PLANTED, ids=[f"{slug}-{one.__name__}" for slug, one in PLANTED])
def test_a_planted_fault_is_found(slug: str, planter, sound: dict[str, Path], tmp_path: Path) -> None:
    fitting = 0
    for name, folder in sound.items():
        copy = shutil.copytree(folder, tmp_path / name)
        try:
            touched = planter(copy, random.Random(7))
        except CannotPlant:
            continue
        fitting += 1
        assert touched
        found = judged(copy, slug)
        assert [finding.slug for finding in found] != [], f"{slug} is silent on {name}"
        assert all(finding.fix is not None and finding.fix.text for finding in found)
        break
    assert fitting


@pytest.mark.parametrize("name", ["classes", "numbers", "black_and_white", "voc", "yolo", "video"])
def test_sound_folders_are_left_alone(name: str, sound: dict[str, Path]) -> None:
    assert [finding.message for finding in judged(sound[name], *SLUGS)] == []


def test_sound_pairs_of_frames_are_left_alone(sound: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(sound["video"], tmp_path / "video")
    paired_video(copy)
    assert [finding.message for finding in judged(copy, *SLUGS)] == []


def test_sound_support_sets_are_left_alone(sound: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(sound["classes"], tmp_path / "classes")
    support_sets(copy)
    assert [finding.message for finding in judged(copy, *SLUGS)] == []


def test_the_mapping_of_a_mask_is_computed(sound: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(sound["numbers"], tmp_path / "numbers")
    for path in (copy / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * 80).save(path)
    (finding,) = judged(copy, "mask-values")
    assert finding.level is Level.ERROR
    assert finding.fix is not None
    assert "{0: 0, 80: 1, 160: 2, 240: 3}" in finding.fix.text


def test_more_frames_than_a_sequence_has_are_asked_for(sound: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(sound["video"], tmp_path / "video")
    assert judged(copy, "clip-too-short", data_settings={"clip_len": 8}) == []
    (finding,) = judged(copy, "clip-too-short", recipe={"clip_len": 25})
    assert "has 18 frames, recipe.clip_len asks for 25" in finding.message
    assert finding.fix is not None
    assert finding.fix.settings == (("recipe.clip_len", 18),)


def test_more_classes_than_the_head_has_outputs(sound: dict[str, Path]) -> None:
    (finding,) = judged(sound["yolo"], "label-out-of-range", model={"num_classes": 2})
    assert finding.fix is not None
    assert finding.fix.settings == (("model.num_classes", 3),)


def audits(**facts: object) -> Known:
    image = ImageRecord("a.jpg", 1, height=100, width=200, orientation=6)
    boxes = (Box("cat", (10.0, 10.0, 60.0, 190.0), "xyxy", "a.xml", 3),)
    sample = Sample("a.jpg", boxes=boxes, stated_size=(200, 100), masks=("m.png",))
    folder = FolderAudit(
        "data.train",
        "train",
        "voc-boxes",
        samples=[sample],
        images={"a.jpg": image},
        masks={"m.png": MaskRecord("m.png", "PNG", "L", 200, 100, ((0, 1), (255, 1)), 2)},
    )
    return Known({}, audit=(folder,), twins=(), **facts)


@pytest.mark.parametrize("slug", ["mask-size-mismatch", "annotation-size-mismatch", "invalid-box", "box-format"])
def test_boxes_and_masks_of_a_turned_photograph_are_taken_as_it_is_shown(slug: str) -> None:
    assert findings(slug, audits()) == []


def test_images_that_only_look_alike_do_not_contradict_each_other() -> None:
    samples = [Sample("a.png", label="cat"), Sample("b.png", label="dog")]
    folder = FolderAudit("data.train", "train", "class-folders", samples=samples, classes=("cat", "dog"))
    for kind, count in (("near", 0), ("same-pixels", 1)):
        plan = Known({}, audit=(folder,), twins=(Twin("a.png", "b.png", kind),))
        assert len(findings("label-conflict", plan)) == count


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug != "missing-file"])
def test_without_data_the_question_does_not_arise(slug: str) -> None:
    plan = Known({}, audit=(), twins=(), paths=(), folders=())
    with pytest.raises(NotApplicable, match=r"\w+ \w+ \w+"):
        findings(slug, plan)
