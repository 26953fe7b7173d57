"""The report of a check as one page: findings with pictures of the worst examples, the data, what was not checked."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Final

from snellen.core.check_report import CheckReport
from snellen.core.facts.data import FolderAudit
from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import CheckResult, Finding, State
from snellen.report.check_text import by_level_and_family, by_reason
from snellen.report.html import Section, render_page, value_table
from snellen.report.text import count_words, harmless, plural, shown
from snellen.report.thumbnails import Thumbnails

__all__ = ["check_page"]

_STYLE: Final = """
.chips{display:flex;flex-wrap:wrap;gap:8px;margin:14px 0}
.chips span{background:var(--card);border-radius:99px;padding:3px 12px;font-size:13px}
.card{background:var(--card);border-left:4px solid var(--line);border-radius:8px;padding:12px 16px;margin:12px 0;
overflow-wrap:anywhere}
.card.error{border-color:var(--bad)}.card.warning{border-color:var(--warn)}.card.note{border-color:var(--s0)}
.card h3{margin:0 0 4px;font-size:16px}.card p{margin:4px 0}.fix{color:var(--good)}
.card ul{margin:4px 0;padding-left:20px;font-size:13px;color:var(--soft)}
.shots{display:flex;flex-wrap:wrap;gap:10px;margin-top:10px}
.shot{background:var(--page);max-width:420px;border:1px solid var(--line)}
.pair{display:flex;gap:2px;align-items:flex-start}.shot img{width:auto;max-width:200px;max-height:200px}
.shot figcaption{max-width:410px;padding:5px 8px;font-size:12px;overflow-wrap:anywhere}
.hole{width:180px;min-height:110px;padding:10px;font-size:12px;color:var(--soft);border:2px dashed var(--line);
overflow-wrap:anywhere}
.hole b{display:block;color:var(--bad)}
.bars{display:grid;grid-template-columns:minmax(60px,max-content) 1fr max-content;gap:2px 10px;font-size:13px;
max-width:640px;align-items:center}
.bars i{height:12px;background:var(--s0);border-radius:3px;min-width:1px}.bars span{overflow-wrap:anywhere}
.two{display:grid;gap:8px 40px;grid-template-columns:repeat(auto-fit,minmax(300px,1fr))}
.about th{width:1%;white-space:nowrap}h4{margin:14px 0 6px;font-size:14px}
"""
_SHOTS_PER_FINDING: Final = 8
_EXAMPLES_PER_FOLDER: Final = 6
_MOST_CLASSES: Final = 40
_MOST_EVIDENCE: Final = 20
_SIZE_STEPS: Final = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


def check_page(report: CheckReport, *, audits: Sequence[FolderAudit] = (), machine: MachineFacts | None = None) -> str:
    """A whole HTML document, with everything in it; names of files are escaped wherever they stand.

    Args:
        report: From `check`.
        audits: The data folders, for the tables and the pictures.
        machine: What the run was judged for.

    Example:
        >>> "<h2>Not checked, because</h2>" in check_page(CheckReport("run.yaml", ()))
        False
    """
    pictures = Thumbnails(audits)
    sections = [Section("Findings", _chips(report) + _findings(report, pictures))]
    sections += [Section(f"Data: {_text(audit.key)}", _folder(audit, pictures)) for audit in audits]
    if report.forecast:
        sections.append(Section("It will take", _list(report.forecast)))
    if machine is not None:
        sections.append(Section("Machine", _machine(machine)))
    if report.settled:
        rows = [{"key": key, "became": _text(value), "because": why} for key, value, why in report.settled]
        sections.append(Section("What auto became", value_table(rows)))
    sections += _gaps(report)
    took = f" in {report.seconds:.1f} s" if report.seconds else ""
    subtitle = f"{plural(len(report.results), 'check')}{took}: {count_words(report.findings)}"
    return render_page(f"Check of {_text(report.subject)}", subtitle, sections, style=_STYLE)


def _chips(report: CheckReport) -> str:
    chips = "".join(f'<span class="{state}">{count} {state}</span>' for state, count in report.counts.items() if count)
    return f'<div class="chips">{chips}</div>'


def _findings(report: CheckReport, pictures: Thumbnails) -> str:
    cards = [
        _card(finding, family, pictures)
        for (_, family), findings in by_level_and_family(report.results).items()
        for finding in findings
    ]
    return "".join(cards) or "<p>No findings.</p>"


def _card(finding: Finding, family: str, pictures: Thumbnails) -> str:
    place = f"<p><code>{_escaped(finding.location)}</code></p>" if finding.location else ""
    evidence = "".join(
        f"<li>{_escaped(f'{one.location}: ' if one.location else '')}{_escaped(one.text)}</li>"
        for one in finding.evidence[:_MOST_EVIDENCE]
    )
    more = len(finding.evidence) - _MOST_EVIDENCE
    evidence += f"<li>and {more} more</li>" if more > 0 else ""
    fix = ""
    if finding.fix is not None:
        command = f"<br><code>{html.escape(harmless(finding.fix.command))}</code>" if finding.fix.command else ""
        fix = f'<p><span class="fix">fix:</span> {_escaped(finding.fix.text)}{command}</p>'
    listed = f"<details><summary>{plural(len(finding.evidence), 'example')}</summary><ul>{evidence}</ul></details>"
    return (
        f'<div class="card {finding.level.value}"><h3>{_escaped(finding.slug)} '
        f'<span class="muted">{finding.level.value}{f" · {_escaped(family)}" if family else ""}</span></h3>'
        f"<p>{_escaped(finding.message)}</p>{place}{fix}{listed if evidence else ''}{_shots(finding, pictures)}</div>"
    )


def _shots(finding: Finding, pictures: Thumbnails) -> str:
    shots: list[str] = []
    seen: set[str] = set()
    for one in finding.evidence:
        path = one.location.path if one.location is not None else ""
        image = pictures.image_of(path)
        if not image or image in seen or len(shots) >= _SHOTS_PER_FINDING:
            continue
        seen.add(image)
        shots.append(pictures.figure(image, f"{PurePath(path).name}: {one.text}"))
    return f'<div class="shots">{"".join(shots)}</div>' if any(shots) else ""


def _folder(audit: FolderAudit, pictures: Thumbnails) -> str:
    rows = {
        "folder": audit.path,
        "layout": f"{audit.layout} ({audit.why})" if audit.why else audit.layout,
        "samples": f"{len(audit.samples)}, {len(audit.masks)} masks read" if audit.masks else len(audit.samples),
        "looked at": audit.coverage(),
        "not used": ", ".join(f"{count} {kind}" for kind, count in audit.others),
    }
    body = "".join(f"<tr><th>{name}</th><td>{_escaped(value)}</td></tr>" for name, value in rows.items() if value != "")
    body = f'<table class="about">{body}</table>'
    charts = [
        ("Samples of each class", _class_counts(audit)),
        ("Longer side in pixels", _side_counts(audit)),
        ("Format and mode", dict(Counter(f"{one.format} {one.mode}" for one in audit.images.values() if one.format))),
    ]
    body += '<div class="two">' + "".join(_bars(title, counts) for title, counts in charts if counts) + "</div>"
    sound = [one for one in audit.samples if one.image in audit.images and not audit.images[one.image].problem]
    chosen = sound[:: max(1, len(sound) // _EXAMPLES_PER_FOLDER)][:_EXAMPLES_PER_FOLDER]
    shots = "".join(
        pictures.figure(sample.image, _caption(sample.image, sample.label or sample.role)) for sample in chosen
    )
    return body + (f'<h4>Some of them</h4><div class="shots">{shots}</div>' if shots else "")


def _caption(path: str, what: str) -> str:
    return f"{PurePath(path).name}: {what}" if what else PurePath(path).name


def _class_counts(audit: FolderAudit) -> dict[str, int]:
    counts: Counter[str] = Counter(dict.fromkeys(audit.classes, 0))
    for sample in audit.samples:
        labels = [box.label for box in sample.boxes or ()] or ([sample.label] if sample.label is not None else [])
        counts.update([_class_name(label, audit.classes) for label in labels] or ([sample.role] if sample.role else []))
    return dict(counts.most_common())


def _class_name(label: str, classes: Sequence[str]) -> str:
    """The name of a class that annotations give by its number."""
    return classes[int(label)] if label.isdecimal() and len(label) < 9 and int(label) < len(classes) else label


def _side_counts(audit: FolderAudit) -> dict[str, int]:
    steps = [0] * (len(_SIZE_STEPS) + 1)
    for record in audit.images.values():
        if record.height and record.width:
            steps[sum(max(record.height, record.width) > step for step in _SIZE_STEPS)] += 1
    names = [f"up to {step}" for step in _SIZE_STEPS] + [f"over {_SIZE_STEPS[-1]}"]
    return {name: count for name, count in zip(names, steps, strict=True) if count}


def _bars(title: str, counts: dict[str, int]) -> str:
    most = max(counts.values()) or 1
    rows = "".join(
        f'<span>{_escaped(name)}</span><i style="width:{100 * count / most:.1f}%"></i><b>{count}</b>'
        for name, count in list(counts.items())[:_MOST_CLASSES]
    )
    left = len(counts) - _MOST_CLASSES
    more = f'<p class="muted">and {left} more</p>' if left > 0 else ""
    return f'<div><h4>{html.escape(title)}</h4><div class="bars">{rows}</div>{more}</div>'


def _machine(machine: MachineFacts) -> str:
    memory = f"{machine.memory_bytes / 2**30:.1f} GiB" if machine.memory_bytes else "unknown"
    return value_table(
        [
            {
                "name": machine.name,
                "judged by": "this machine" if machine.here else "published figures",
                "devices": f"{machine.devices} x {machine.accelerator}",
                "memory of one": memory,
                "bf16": "yes" if machine.bf16 else "no",
                "cores": machine.cpus or "unknown",
            }
        ]
    )


def _gaps(report: CheckReport) -> list[Section]:
    sections = []
    grouped = by_reason(report.not_judged)
    if grouped:
        rows = [
            {"why": f"crashed: {reason}" if state is State.CRASHED else reason, "checks": _slugs(results)}
            for (state, reason), results in grouped.items()
        ]
        sections.append(Section("Not checked, because", value_table(rows)))
    for title, state in (("Muted", State.MUTED), ("Passed", State.PASSED)):
        results = [result for result in report.results if result.state is state]
        if results:
            table = value_table([{"rule": one.slug, "what": one.title, "why": _text(one.reason)} for one in results])
            sections.append(Section(title, f"<details><summary>{len(results)} checks</summary>{table}</details>"))
    return sections


def _slugs(results: Iterable[CheckResult]) -> str:
    return ", ".join(result.slug for result in results)


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{_escaped(sentence)}</li>" for sentence in sentences) + "</ul>"


def _text(value: object) -> str:
    return shown(str(value))


def _escaped(value: object) -> str:
    return html.escape(_text(value))
