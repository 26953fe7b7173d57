"""Reports: well-formed, self-contained, and nothing from outside gets through unescaped."""

from __future__ import annotations

import math
from html.parser import HTMLParser

from snellen.core.finding import CheckResult, Finding, Fix, Level, State
from snellen.report.chart import Series, line_chart, stacked_bar
from snellen.report.html import Picture, Section, findings_block, gallery, render_page, value_table

VOID = {"meta", "img", "br", "line", "polyline", "circle"}


class Checker(HTMLParser):
    """Collects what is opened and never closed, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_a_page_is_well_formed_and_fetches_nothing() -> None:
    chart = line_chart([Series("loss", [(0, 1.0), (1, math.nan), (2, 0.4)])], x_label="step", y_label="loss")
    page = render_page(
        "A run",
        "of the test",
        [
            Section("Curves", chart + stacked_bar({"data": 1, "forward": 2}, unit="s")),
            Section("Pictures", gallery([Picture(b"\x89PNG....", "a <b> & c")])),
            Section("Table", value_table([{"image": "x", "f1": 0.25}])),
        ],
    )
    assert all(address.startswith("data:image/png;base64,") for address in checked(page).addresses)
    assert "a &lt;b&gt; &amp; c" in page


def test_a_nan_is_marked_and_breaks_the_line() -> None:
    chart = line_chart([Series("loss", [(0, 1.0), (1, math.nan), (2, 0.4)])], x_label="step", y_label="loss")
    assert chart.count("<polyline") == 2
    assert ">nan</text>" in chart


def test_nothing_finite_is_said_in_words() -> None:
    assert "Nothing finite" in line_chart([Series("loss", [(0, math.inf)])], x_label="step", y_label="loss")


def test_findings_show_their_fix_and_what_was_not_checked() -> None:
    finding = Finding(
        "half-overflow", Level.ERROR, "<script>alert(1)</script>", fix=Fix("use finfo", command="snellen x")
    )
    block = findings_block(
        [
            CheckResult("half-overflow", State.FAILED, findings=(finding,)),
            CheckResult("nan-loss", State.NOT_APPLICABLE, reason="nothing is trained"),
            CheckResult("split-case", State.PASSED),
        ]
    )
    checked(block)
    assert "<script>" not in block
    assert "use finfo" in block
    assert "Not checked: 1" in block
    assert "nothing is trained" in block
    assert "1 passed" in block
