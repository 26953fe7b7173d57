"""Reports as one HTML file that opens anywhere: styles and pictures inside, no script, nothing fetched."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snellen.core.finding import CheckResult, Finding, State

__all__ = ["Picture", "Section", "findings_block", "gallery", "render_page", "text_block", "value_table"]

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5d6b7a;--line:#d9e0e7;--page:#fff;--card:#f6f8fa;
--s0:#2563a8;--s1:#d97706;--s2:#0f8a6d;--s3:#9d3b8f;--bad:#b3261e;--warn:#9a6700;--good:#1a7f37}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--line:#30363d;--page:#0f141a;--card:#161c23;
--s0:#6cb0f5;--s1:#f0a94a;--s2:#4fc3a1;--s3:#d68bd0;--bad:#ff7b72;--warn:#e3b341;--good:#56d364}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:32px 24px 64px;background:var(--page);
color:var(--ink);font:15px/1.5 system-ui,sans-serif}h1{font-size:28px;margin:0}h2{font-size:19px;margin:40px 0 10px}
.muted,.tick,figcaption{color:var(--soft)}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 10px;border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600}
td.number,th.number{text-align:right}code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:var(--card);
padding:12px 14px;border-radius:8px;overflow-x:auto;white-space:pre-wrap}svg{width:100%;height:auto;max-width:720px}
.grid{stroke:var(--line)}.tick{fill:var(--soft);font-size:11px}text.bad{fill:var(--bad);font-size:12px;font-weight:700}
polyline{fill:none;stroke-width:2}polyline.s0,circle.s0{stroke:var(--s0)}polyline.s1,circle.s1{stroke:var(--s1)}
polyline.s2,circle.s2{stroke:var(--s2)}polyline.s3,circle.s3{stroke:var(--s3)}div.s0,i.s0{background:var(--s0)}
div.s1,i.s1{background:var(--s1)}div.s2,i.s2{background:var(--s2)}div.s3,i.s3{background:var(--s3)}
.bar{display:flex;height:22px;border-radius:6px;overflow:hidden;max-width:720px}.legend{display:flex;flex-wrap:wrap;
gap:4px 18px;font-size:13px;margin-top:6px}.key{display:inline-block;width:10px;height:10px;border-radius:2px;
margin-right:6px}.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:16px}
figure{margin:0;background:var(--card);border-radius:8px;overflow:hidden}figure img{width:100%;display:block}
figcaption{padding:8px 12px;font-size:13px}.state{font-weight:600}.failed,.crashed{color:var(--bad)}
.warned{color:var(--warn)}.passed{color:var(--good)}
"""


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a page; `body` is HTML made by the functions of this package."""

    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG or JPEG and the line under it."""

    content: bytes
    caption: str


def render_page(title: str, subtitle: str, sections: Sequence[Section], *, style: str = "") -> str:
    """A whole HTML document.

    Args:
        title: Of the page.
        subtitle: The line below it.
        sections: Its parts.
        style: Further rules, after those that every page has.

    Example:
        >>> "<h2>Data</h2>" in render_page("Run", "a run", [Section("Data", text_block("fine"))])
        True
    """
    body = "".join(f"<section><h2>{html.escape(section.title)}</h2>{section.body}</section>" for section in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}{style}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><p class=muted>{html.escape(subtitle)}</p>{body}</body></html>\n"
    )


def text_block(text: str, *, preformatted: bool = False) -> str:
    """A paragraph, or text as it stands."""
    return f"<pre>{html.escape(text)}</pre>" if preformatted else f"<p>{html.escape(text)}</p>"


def value_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table; its columns are the keys of the first row, numbers stand on the right.

    Example:
        >>> value_table([{"image": "a.png", "f1": 0.5}]).count("<td")
        2
    """
    if not rows:
        return "<p class=muted>Nothing to show.</p>"
    columns = list(rows[0])
    numeric = {name for name in columns if isinstance(rows[0][name], int | float)}

    def cell(tag: str, name: str, value: object) -> str:
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        css = " class=number" if name in numeric else ""
        return f"<{tag}{css}>{html.escape(text)}</{tag}>"

    head = "".join(cell("th", name, name.replace("_", " ")) for name in columns)
    body = "".join("<tr>" + "".join(cell("td", name, row.get(name, "")) for name in columns) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def gallery(pictures: Sequence[Picture]) -> str:
    """Pictures with captions, as many in a row as fit."""
    figures = []
    for picture in pictures:
        kind = "png" if picture.content.startswith(b"\x89PNG") else "jpeg"
        source = f"data:image/{kind};base64,{base64.b64encode(picture.content).decode()}"
        caption = html.escape(picture.caption)
        figures.append(f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    return f'<div class="gallery">{"".join(figures)}</div>'


def findings_block(results: Sequence[CheckResult]) -> str:
    """Every finding with its place, evidence and fix; then what was not checked, and why."""
    rows = [_finding_row(result, finding) for result in results for finding in result.findings]
    unseen = [result for result in results if result.state in (State.NOT_APPLICABLE, State.SKIPPED, State.CRASHED)]
    passed = sum(result.state is State.PASSED for result in results)
    table = (
        "<table><thead><tr><th>Rule</th><th>Found</th><th>Fix</th></tr></thead><tbody>"
        + "".join(rows)
        + "</tbody></table>"
        if rows
        else "<p>No findings.</p>"
    )
    items = "".join(
        f"<li><code>{html.escape(result.slug)}</code> {result.state.value}: {html.escape(result.reason)}</li>"
        for result in unseen
    )
    rest = f"<details><summary>Not checked: {len(unseen)}</summary><ul>{items}</ul></details>" if unseen else ""
    return f"{table}<p class=muted>{passed} passed.</p>{rest}"


def _finding_row(result: CheckResult, finding: Finding) -> str:
    place = f"<br><code>{html.escape(str(finding.location))}</code>" if finding.location else ""
    evidence = "".join(f"<br><span class=muted>{html.escape(one.text)}</span>" for one in finding.evidence)
    fix = html.escape(finding.fix.text) if finding.fix else ""
    if finding.fix and finding.fix.command:
        fix += f"<br><code>{html.escape(finding.fix.command)}</code>"
    return (
        f'<tr><td><span class="state {result.state.value}">{html.escape(finding.slug)}</span></td>'
        f"<td>{html.escape(finding.message)}{place}{evidence}</td><td>{fix}</td></tr>"
    )
