"""Write one page for every rule, and an index by family, from the catalogue.

python docs/generate_rules.py            write docs/rules/*.md anew
python docs/generate_rules.py --check    say which pages are out of date; exit code 1 when there are any
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from snellen.core.rule import HEADINGS, Absent, Rule
from snellen.rules.catalogue import catalogue

HERE = Path(__file__).resolve().parent
TARGET = HERE / "rules"
EXAMPLES = HERE.parent / "tests" / "rules"

VERBS = {"log": "`explain`", "source": "`lint`", "before": "`check`", "during": "`guard`, `train`"}
"""The verb that runs each facet."""
MOMENTS = {"log": "in a log", "source": "in source", "before": "before the run", "during": "during the run"}
LONGEST_EXAMPLE = 30


def page(rule: Rule) -> str:
    """The page of one rule."""
    parts = [f"# {rule.slug}", "", rule.page.strip().partition("\n")[0], ""]
    parts += [f"Family {rule.family}; level {rule.level.value}.", "", *_moments(rule), ""]
    for heading in HEADINGS:
        parts += [f"## {heading}", "", _linked(rule.section(heading)), ""]
    parts += _examples(rule)
    return "\n".join(parts).rstrip() + "\n"


def _moments(rule: Rule) -> Iterator[str]:
    yield "| moment | verb | |"
    yield "|---|---|---|"
    for moment, name in MOMENTS.items():
        facet = rule.facet(moment)  # type: ignore[arg-type]
        answer = f"no: {facet.reason}" if isinstance(facet, Absent) else "yes"
        yield f"| {name} | {VERBS[moment]} | {answer} |"


def _linked(text: str) -> str:
    """Addresses and names of other rules become links."""
    text = re.sub(r"(?<![<(])(https?://[^\s)>]+[^\s)>.,;:])", r"<\1>", text)
    names = "|".join(sorted(map(re.escape, catalogue()), key=len, reverse=True))
    return re.sub(rf"`({names})`", r"[\1](\1.md)", text)


def _examples(rule: Rule) -> Iterator[str]:
    folder = EXAMPLES / rule.slug
    logs, sources = sorted(folder.glob("fires_*.log")), sorted(folder.glob("bad_*.py"))
    if logs or sources:
        yield "## Examples"
        yield ""
    for path, language, title in [(p, "text", "It is found in this log:") for p in logs[:1]] + [
        (p, "python", "It is found in this source:") for p in sources[:1]
    ]:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
        shown = lines if len(lines) <= LONGEST_EXAMPLE else ["...", *lines[-LONGEST_EXAMPLE:]]
        yield from (title, "", f"```{language}", *shown, "```", "")


def index() -> str:
    """The list of all rules by family."""
    parts = ["# Rules", "", "One known failure, one rule, seen at up to four moments.", ""]
    for family in sorted({rule.family for rule in catalogue().values()}):
        parts += [f"## {family.capitalize()}", "", "| rule | symptom | found |", "|---|---|---|"]
        for rule in catalogue().values():
            if rule.family == family:
                moments = ", ".join(MOMENTS[moment] for moment in rule.moments)
                parts.append(f"| [{rule.slug}]({rule.slug}.md) | {rule.title} | {moments} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def pages() -> dict[Path, str]:
    """Every file that belongs into `docs/rules`."""
    return {TARGET / "index.md": index(), **{TARGET / f"{slug}.md": page(rule) for slug, rule in catalogue().items()}}


def main() -> int:
    """Write the pages, or compare them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    wanted, there = pages(), set(TARGET.glob("*.md"))
    stale = [p for p, text in wanted.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    stale += sorted(there - set(wanted))
    if parser.parse_args().check:
        for path in stale:
            print(f"{path.relative_to(HERE.parent)} is out of date: run python docs/generate_rules.py")
        return 1 if stale else 0
    TARGET.mkdir(exist_ok=True)
    for path in there - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    print(f"{len(wanted)} pages written to {TARGET.relative_to(HERE.parent)}, {len(stale)} of them changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
