"""The rules about images: fire on faults that were really planted, and are silent on sound images."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from plans import Known, findings
from plant import images as planted_images
from plant import planters
from snellen.check import CheckSettings, check
from snellen.check.run import plan_of_folder
from snellen.core.facts.data import FolderAudit, ImageRecord, MaskRecord, Pixels, Sample, Twin
from snellen.core.finding import Finding, Level, State
from snellen.core.plan import NotApplicable

OF_IMAGES = [(slug, planter) for slug, planter in planters() if planter.__module__ == planted_images.__name__]
SLUGS = sorted({slug for slug, _ in OF_IMAGES})
PHOTOS = ("astronaut", "coffee", "chelsea", "rocket", "china", "flower", "hubble_deep_field", "retina")
SIDE = 128


@pytest.fixture(scope="session")
def sound(tmp_path_factory, photo) -> Path:
    """Two classes of twelve photographs each: crops of what scikit-image and scikit-learn bring along."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    rng = np.random.default_rng(3)
    for label in ("left", "right"):
        (folder / "train" / label).mkdir(parents=True)
    for number in range(24):
        whole = photo(PHOTOS[number % len(PHOTOS)])
        side = min(whole.shape[:2]) // 2
        top, start = (int(rng.integers(0, size - side)) for size in whole.shape[:2])
        # Crops of one photograph are no duplicates: each lies in another quarter or in another photograph.
        crop = Image.fromarray(whole[top : top + side, start : start + side]).resize((SIDE, SIDE))
        suffix = "png" if number % 2 else "jpg"
        crop.save(folder / "train" / ("left", "right")[number % 2] / f"{number:02d}.{suffix}")
    return folder


@pytest.fixture(scope="session")
def of_png(tmp_path_factory, sound) -> Path:
    """The same, all as PNG."""
    folder = tmp_path_factory.mktemp("png") / "data"
    for path in sorted(sound.rglob("*.*g")):
        place = folder / path.relative_to(sound).with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(place)
    return folder


@pytest.fixture(scope="session")
def one_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(one_cache, monkeypatch):
    """Not the user's; copies of what was measured once are known by their content."""
    monkeypatch.setenv("SNELLEN_CACHE", str(one_cache))


def found_in(folder: Path, *slugs: str) -> list[Finding]:
    plan = plan_of_folder(folder, {"data": {"train": str(folder / "train")}})
    report = check(plan, settings=CheckSettings(select=slugs or ("data",)))
    assert not [result for result in report.results if result.state is State.CRASHED]
    return list(report.findings)


def test_sound_images_are_left_alone(sound, of_png):
    assert found_in(sound, *SLUGS) == []
    assert found_in(of_png, *SLUGS) == []


@pytest.mark.parametrize(("slug", "planter"), OF_IMAGES, ids=lambda item: getattr(item, "__name__", None))
def test_a_planted_fault_is_found_and_named(slug, planter, of_png, sound, tmp_path):
    for source in (of_png, sound):
        copy = Path(shutil.copytree(source, tmp_path / source.parent.name))
        try:
            touched = planter(copy, random.Random(5))
        except planted_images.CannotPlant as reason:
            why = str(reason)
            continue
        found = found_in(copy, slug)
        assert len(found) == 1
        names = [one.location.path for one in found[0].evidence if one.location is not None]
        assert {str(path) for path in touched} & set(names) or any(path.name in found[0].message for path in touched)
        assert set(names) <= {str(path) for path in touched}
        assert found[0].message.startswith("data.train: ")
        assert found[0].fix is not None
        return
    pytest.skip(f"cannot be planted here: {why}")


# What only stated facts can show.

PIXELS = Pixels(0.5, 0.2, 0.1, 0.9, 0.1, 0.1, 7.0, 0.0, 1)


def record(path: str, **facts) -> ImageRecord:
    given = {"bytes": 9, "format": "PNG", "mode": "RGB", "bits": 8, "height": 300, "width": 400, "pixels": PIXELS}
    return ImageRecord(path, **{**given, **facts})


def audit(*records: ImageRecord, **facts) -> tuple[FolderAudit, ...]:
    samples = tuple(Sample(record.path) for record in records)
    images = {record.path: record for record in records}
    return (
        FolderAudit(
            "data.train", "train", "images", **{"samples": samples, **facts}, images=images, measured=len(images)
        ),
    )


def many(count: int, **facts) -> list[ImageRecord]:
    return [record(f"{number}.png", **facts) for number in range(count)]


@pytest.mark.parametrize("slug", sorted(set(SLUGS) - {"corrupt-image", "decompression-bomb"}))
def test_without_data_the_question_does_not_arise(slug):
    with pytest.raises(NotApplicable):
        findings(slug, Known({}, audit=(), names=(), twins=()))


def test_a_set_that_is_dark_as_a_whole_is_no_set_of_dark_images():
    night = [record(f"{n}.png", pixels=replace(PIXELS, high=0.05 + 0.02 * n, mean=0.02)) for n in range(12)]
    assert findings("dark-image", Known({}, audit=audit(*night))) == []


def test_blurred_halves_of_pairs_and_thumbnails_are_meant_to_be():
    soft = replace(PIXELS, sharpness=0.004)
    frames = [*many(12), record("soft.png", pixels=soft)]
    assert [finding.slug for finding in findings("blurred-image", Known({}, audit=audit(*frames)))] == ["blurred-image"]
    pairs = audit(*frames, samples=(Sample("soft.png", partner="0.png"),))
    assert findings("blurred-image", Known({}, audit=pairs)) == []
    small = [*many(12, height=32, width=32), record("soft.png", pixels=soft, height=32, width=32)]
    assert findings("blurred-image", Known({}, audit=audit(*small))) == []


def test_a_photograph_turned_by_exif_is_an_error_where_its_mask_lies_as_stored():
    turned = record("a.jpg", format="JPEG", orientation=6)
    (finding,) = findings("exif-rotation", Known({}, audit=audit(turned)))
    assert finding.level is Level.WARNING
    masks = {"m.png": MaskRecord("m.png", height=300, width=400)}
    annotated = audit(turned, samples=(Sample("a.jpg", masks=("m.png",)),), masks=masks)
    (finding,) = findings("exif-rotation", Known({}, audit=annotated))
    assert finding.level is Level.ERROR
    upright = {"m.png": MaskRecord("m.png", height=400, width=300)}
    annotated = audit(turned, samples=(Sample("a.jpg", masks=("m.png",)),), masks=upright)
    assert findings("exif-rotation", Known({}, audit=annotated))[0].level is Level.WARNING
    boxes = audit(turned, samples=(Sample("a.jpg", stated_size=(300, 400)),))
    assert findings("exif-rotation", Known({}, audit=boxes))[0].level is Level.ERROR


def test_what_fits_a_turned_photograph_as_stored_is_told_once():
    turned = record("a.jpg", format="JPEG", orientation=6)
    sample = Sample("a.jpg", masks=("m.png",), boxes=(), stated_size=(300, 400))
    masks = {"m.png": MaskRecord("m.png", height=300, width=400)}
    plan = Known({}, audit=audit(turned, samples=(sample,), masks=masks))
    slugs = ("exif-rotation", "mask-size-mismatch", "annotation-size-mismatch")
    assert [slug for slug in slugs if findings(slug, plan)] == ["exif-rotation"]


def test_decoding_far_more_than_the_run_needs_is_counted_in_seconds():
    photographs = many(1000, height=4000, width=6000)
    plan = Known({"data": {"image_size": 224}}, audit=audit(*photographs), machine=SimpleNamespace(cpus=5))
    (finding,) = findings("oversized-image", plan)
    assert finding.level is Level.NOTE
    assert "24.0 megapixels" in finding.message
    assert "60 s an epoch on 4 cores" in finding.message
    assert findings("oversized-image", Known({"data": {"image_size": 2000}}, audit=audit(*photographs))) == []
    with pytest.raises(NotApplicable):
        findings("oversized-image", Known({}, audit=audit(*photographs)))


def test_an_image_far_below_the_runs_size_is_tiny():
    previews = [*many(10, height=600, width=800), record("t.png", height=60, width=80)]
    assert findings("tiny-image", Known({}, audit=audit(*previews))) == []
    (finding,) = findings("tiny-image", Known({"data": {"image_size": [512, 512]}}, audit=audit(*previews)))
    assert [one.location.path for one in finding.evidence] == ["t.png"]


def test_an_even_mixture_of_modes_is_told_with_all_its_counts():
    mixture = [*many(5), *(record(f"l{n}.png", mode="L") for n in range(5))]
    (finding,) = findings("mixed-colour-modes", Known({}, audit=audit(*mixture)))
    assert "RGB 5" in finding.message
    assert "grey 5" in finding.message


def test_twelve_bits_in_sixteen_are_told_with_the_number_to_divide_by():
    deep = many(3, mode="I;16", bits=16, pixels=replace(PIXELS, high=4000 / 65535))
    (finding,) = findings("high-bit-depth", Known({}, audit=audit(*deep)))
    assert "12 of the 16 bits" in finding.message
    assert "4095" in finding.fix.text
    full = many(3, mode="I;16", bits=16)
    assert findings("high-bit-depth", Known({}, audit=audit(*full)))[0].level is Level.NOTE


def test_copies_are_grouped_over_all_pairs_and_only_within_a_role():
    twins = (
        Twin("0.png", "1.png", "same-file"),
        Twin("1.png", "2.png", "same-pixels"),
        Twin("3.png", "4.png", "near", 2),
    )
    (finding,) = findings("duplicate-image", Known({}, audit=audit(*many(6)), twins=twins))
    assert "2 of 6 (33%) images are copies of another one, in 1 group" in finding.message
    (near,) = findings("near-duplicate-image", Known({}, audit=audit(*many(6)), twins=twins))
    assert near.level is Level.NOTE
    roles = tuple(Sample(f"{n}.png", role="forged" if n % 2 else "authentic") for n in range(6))
    assert findings("duplicate-image", Known({}, audit=audit(*many(6), samples=roles), twins=twins[:1])) == []
    labels = tuple(Sample(f"{n}.png", label="cat" if n % 2 else "dog") for n in range(6))
    assert findings("duplicate-image", Known({}, audit=audit(*many(6), samples=labels), twins=twins[:1])) == []
    frames = tuple(Sample(f"{n}.png", group="walk", index=n) for n in range(6))
    assert findings("near-duplicate-image", Known({}, audit=audit(*many(6), samples=frames), twins=twins)) == []


def test_files_that_may_not_be_read_get_the_command():
    closed = record("a.png", problem="a.png cannot be read: Permission denied")
    (finding,) = findings("unreadable-file", Known({}, audit=audit(closed)))
    assert finding.level is Level.ERROR
    assert finding.fix.command == "chmod -R a+rX train"
