"""The page of a check: everything in it, nothing fetched, no name of a file taken for markup."""

from __future__ import annotations

import base64
import io
import os
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from snellen.core.check_report import CheckReport
from snellen.core.facts.data import Box, FolderAudit, ImageRecord, MaskRecord, Sample
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import CheckResult, Evidence, Finding, Fix, Level, Location, State
from snellen.report.check_page import check_page
from snellen.report.thumbnails import Thumbnails

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\u202e.png"
VOID = {"meta", "img", "br", "rect", "line"}


class Page(HTMLParser):
    """Collects tags and text, and refuses tags that are closed in another order than they were opened."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def pictures(self):
        sources = [attributes["src"] for tag, attributes in self.tags if tag == "img"]
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        return [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]


@pytest.fixture
def audit(tmp_path, photo):
    """Three samples: a photograph with a mask and boxes, a damaged file, and one with a hostile name."""
    Image.fromarray(photo("astronaut")).save(tmp_path / "a.png")
    mask = Image.new("L", (512, 512), 0)
    mask.paste(1, (100, 100, 300, 300))
    mask.save(tmp_path / "a_mask.png")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8 no more")
    Image.fromarray(photo("coffee")).save(tmp_path / "hostile.png")
    (tmp_path / "hostile.png").rename(tmp_path / HOSTILE)
    boxes = (
        Box("cat", (10, 10, 200, 200), "xyxy", "a.txt"),
        Box("dog", (0.5, 0.5, 3.0, 0.5), "relative-cxcywh", "a.txt"),
        Box("odd", (float("nan"), 1e30, -5, 5), "xywh", "a.txt"),
    )
    names = [str(tmp_path / name) for name in ("a.png", "torn.jpg", HOSTILE)]
    return FolderAudit(
        "data.train",
        str(tmp_path),
        "pairs",
        "images beside <b>masks</b>",
        samples=(
            Sample(names[0], label="cat", masks=(str(tmp_path / "a_mask.png"),), boxes=boxes),
            Sample(names[1], label="dog"),
            Sample(names[2], label="<i>bird</i>"),
        ),
        images={
            names[0]: ImageRecord(names[0], 9, format="PNG", mode="RGB", height=512, width=512),
            names[1]: ImageRecord(names[1], 9, problem="the file ends early"),
            names[2]: ImageRecord(names[2], 9, format="PNG", mode="RGB", height=400, width=600),
        },
        masks={str(tmp_path / "a_mask.png"): MaskRecord(str(tmp_path / "a_mask.png"))},
        classes=("cat", "dog", "unseen"),
        measured=2,
    )


def page_of(audit):
    evidence = tuple(Evidence(f"{sample.image} is wrong", Location(sample.image)) for sample in audit.samples)
    finding = Finding(
        "corrupt-image", Level.ERROR, f"3 files, the worst {HOSTILE}", evidence=evidence, fix=Fix("x", command="rm <x>")
    )
    results = (
        CheckResult("corrupt-image", State.FAILED, "Bad", (finding,), family="data"),
        CheckResult("nan-loss", State.SKIPPED, "NaN", reason="costs <minutes>"),
        CheckResult("cuda-oom", State.SKIPPED, "Full", reason="costs <minutes>"),
        CheckResult("hub-auth", State.CRASHED, "Hub", reason="KeyError: 'x'"),
        CheckResult("split-case", State.PASSED, "Case"),
    )
    report = CheckReport(HOSTILE, results, (("precision", "fp32", "no GPU"),), forecast=("9 GB",), seconds=2.0)
    machine = MachineFacts("kaggle-t4", False, "cuda", 1, False, memory_bytes=15 << 30)
    return check_page(report, audits=(audit,), machine=machine)


def test_the_page_is_one_file_with_pictures_and_reasons(audit):
    page = Page(page_of(audit))
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe"} == set()
    assert not [1 for _, attributes in page.tags if any(name.startswith("on") for name in attributes)]
    assert "prefers-color-scheme:dark" in page.text
    for words in (
        "corrupt-image", "the file ends early", "costs <minutes>", "nan-loss, cuda-oom", "crashed: KeyError",
        "images beside <b>masks</b>", "Samples of each class", "unseen", "up to 512", "kaggle-t4", "15.0 GiB", "9 GB",
        "opened 3 images, measured the pixels of 2", "<i>bird</i>",
    ):  # fmt: skip
        assert words in page.text, words
    sizes = [picture.size for picture in page.pictures()]
    assert len(sizes) == 6
    assert all(max(size) <= 200 for size in sizes)


def test_hostile_names_are_text(audit):
    html = page_of(audit)
    assert "<img src=x" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    html.encode("utf-8")


def test_masks_of_zeros_and_ones_can_be_seen_and_boxes_are_drawn(audit):
    image, mask = Page(Thumbnails([audit]).figure(audit.samples[0].image, "a")).pictures()
    assert mask.convert("L").getextrema()[1] > 200
    red, green, blue = image.getpixel((40, 4))
    assert red > 150 > blue
    assert green > blue


def test_pictures_are_bounded(audit):
    pictures = Thumbnails([audit], pictures=2)
    assert [bool(pictures.figure(audit.samples[0].image, "a")) for _ in range(3)] == [True, False, False]
    assert len(re.findall("<img", Thumbnails([audit], budget=1).figure(audit.samples[0].image, "a"))) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert "no regular file" in Thumbnails().figure(str(tmp_path / "a.png"), "a")
