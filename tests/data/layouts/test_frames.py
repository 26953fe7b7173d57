"""Videos, blurred and sharp frames, support sets; and what names say about where a picture comes from."""

from __future__ import annotations

from pathlib import Path

from snellen.data.layouts import Listing, read_layout, splits_of


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def read(root: Path) -> Listing:
    return read_layout(root, key="data.train")


def kinds(listing: Listing) -> dict[str, int]:
    return {problem.kind: problem.count for problem in listing.problems}


def sequence(root: Path, name: str, count: int, *folders: str) -> None:
    for folder in folders:
        suffix = "dat" if folder == "spike" else "png"
        touch(root, *(f"{name}/{folder}/{number:08}.{suffix}" for number in range(count)))


def test_sequences_of_pairs_and_what_they_lack(tmp_path: Path) -> None:
    sequence(tmp_path / "Train", "s1", 6, "blur", "sharp", "spike")
    sequence(tmp_path / "Train", "s2", 3, "Blur", "sharp", "spike")
    sequence(tmp_path / "Train", "s3", 5, "blur", "spike")
    (tmp_path / "Train" / "s1" / "sharp" / "00000002.png").unlink()
    (tmp_path / "Train" / "s1" / "blur" / "00000004.png").unlink()
    (tmp_path / "Train" / "s2" / "spike" / "00000001.dat").unlink()
    listing = read(splits_of(tmp_path)["train"])
    assert listing.layout == "frame-pairs"
    assert kinds(listing) == {
        "missing-folder": 1,
        "other-case": 1,
        "image-without-partner": 1,
        "partner-without-image": 1,
        "image-without-spikes": 1,
    }
    counts = {group: sum(sample.group == group for sample in listing.samples) for group in ("s1", "s2", "s3")}
    assert counts == {"s1": 5, "s2": 3, "s3": 5}
    assert str(listing.samples[0].partner).endswith("s1/sharp/00000000.png")


def test_flat_pairs(tmp_path: Path) -> None:
    touch(tmp_path, "input/1.png", "input/2.png", "target/1.png", "target/2.png")
    listing = read(tmp_path)
    assert listing.layout == "frame-pairs"
    assert all(sample.partner for sample in listing.samples)


def test_videos_with_masks_and_clips(tmp_path: Path) -> None:
    touch(tmp_path, *(f"bear{end}/{number:05}.png" for end in ("", "_mask") for number in (0, 1, 2, 4)), "clips/a.mp4")
    (tmp_path / "bear_mask" / "00001.png").unlink()
    listing = read(tmp_path)
    assert (listing.layout, listing.others) == ("frames", ((".mp4", 1),))
    assert {(sample.group, sample.index) for sample in listing.samples} == {("bear", n) for n in (0, 1, 2, 4)}
    assert kinds(listing) == {"image-without-mask": 1}


def test_a_copy_among_the_frames_does_not_unmake_the_video(tmp_path: Path) -> None:
    touch(tmp_path, *(f"bear{end}/{number:05}.png" for end in ("", "_mask") for number in range(12)))
    touch(tmp_path, "bear/00003 (1).png")
    listing = read(tmp_path)
    assert listing.layout == "frames"
    assert [(Path(one.image).name, one.index) for one in listing.samples if one.index is None] == [
        ("00003 (1).png", None)
    ]
    assert kinds(listing) == {"image-without-mask": 1}
    # Where many images are no frames, a folder is no video.
    touch(tmp_path, *(f"bear/cover_{letter}.png" for letter in "abcd"))
    assert "frames" not in {sample.role for sample in read(tmp_path).samples}
    assert all(one.group != "bear" or one.index is None for one in read(tmp_path).samples)


def test_classes_with_numbered_images_stay_classes_and_the_doubt_is_said(tmp_path: Path) -> None:
    listing = read(touch(tmp_path, *(f"{name}/{number:05}.png" for name in ("cat", "dog") for number in range(4))))
    assert listing.layout == "class-folders"
    assert "could also be read as frames" in listing.why


def test_support_sets_in_both_forms(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"food/2.support-set/Class_{name}/shot{n}/{i}.jpg" for name in ("A", "B") for n in (1, 5) for i in range(n)),
    )
    touch(tmp_path, "food/6.preprocessed/a/q1.jpg", "food/6.preprocessed/other/q2.jpg", "food/7.results/r.png")
    touch(tmp_path, "tools/2.support-set/shot1/0.jpg")
    (tmp_path / "food/2.support-set/Class_A/shot1/0.jpg").unlink()
    listing = read(tmp_path)
    assert listing.layout == "support-query"
    supports = [(sample.label, sample.shot) for sample in listing.samples if sample.role == "support"]
    assert supports.count(("Class_B", 5)) == 5
    assert supports.count(("tools", 1)) == 1
    assert [sample.label for sample in listing.samples if sample.role == "query"] == ["Class_A", None]
    assert kinds(listing) == {"empty-folder": 1, "missing-folder": 1}
    assert dict(listing.others) == {".png": 1}


def test_one_shot_runs(tmp_path: Path) -> None:
    touch(
        tmp_path, *(f"run01/{place}" for place in ("test/item01.png", "training/class01.png", "training/class02.png"))
    )
    (tmp_path / "run01" / "class_labels.txt").write_text(
        "run01/test/item01.png run01/training/class01.png\nrun01/test/item09.png run01/training/class01.png\nodd\n"
    )
    listing = read(tmp_path)
    assert [(sample.role, sample.label, sample.shot) for sample in listing.samples] == [
        ("query", "run01/class01", None),
        ("support", "run01/class01", 1),
    ]
    assert kinds(listing) == {"row-unreadable": 1, "missing-file": 1, "stray-file": 1}


def test_names_say_where_pictures_come_from(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "street_png.rf.0123456789ab.jpg",
        "street_png.rf.ba9876543210.jpg",
        "GOPR01_0001.png",
        "GOPR01_0002.png",
    )
    touch(tmp_path, "IMG_0001.jpg", "raccoon-60.jpg", "patient_07/x.png", "photo_crop_1.png", "20240101_120000.jpg")
    groups = {Path(sample.image).name: (sample.group, sample.index) for sample in read(tmp_path).samples}
    assert groups == {
        "street_png.rf.0123456789ab.jpg": ("street", None),
        "street_png.rf.ba9876543210.jpg": ("street", None),
        "GOPR01_0001.png": ("GOPR01", 1),
        "GOPR01_0002.png": ("GOPR01", 2),
        "IMG_0001.jpg": ("", None),
        "raccoon-60.jpg": ("", None),
        "x.png": ("patient_07", None),
        "photo_crop_1.png": ("photo", None),
        "20240101_120000.jpg": ("", None),
    }


def test_spikes_and_voxels_belong_to_their_frames(tmp_path):
    names = ("00000001", "00000002")
    for folder, suffix in (("blur", "png"), ("sharp", "png"), ("spike", "dat"), ("spike_vox", "pt")):
        for name in names if folder != "spike_vox" else names[:1]:
            path = tmp_path / "train" / "a" / folder / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    (tmp_path / "train" / "b" / "blur").mkdir(parents=True)
    for folder in ("blur", "sharp", "spike"):
        (tmp_path / "train" / "b" / folder).mkdir(exist_ok=True)
    for name in names:
        (tmp_path / "train" / "b" / "blur" / f"{name}.png").touch()
        (tmp_path / "train" / "b" / "sharp" / f"{name}.png").touch()
    (tmp_path / "train" / "b" / "spike" / "stream.dat").touch()

    samples = read_layout(tmp_path / "train", key="data.train").samples

    found = [(one.group, one.index, (one.spikes or "")[-16:], (one.voxels or "")[-11:]) for one in samples]
    assert found == [
        ("a", 1, "ike/00000001.dat", "00000001.pt"),
        ("a", 2, "ike/00000002.dat", ""),
        ("b", 1, "spike/stream.dat", ""),
        ("b", 2, "spike/stream.dat", ""),
    ]
