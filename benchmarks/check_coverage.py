"""Which failures of a list `snellen check` can find before a run: by the run itself, or in the code that it names.

    uv run python benchmarks/check_coverage.py [--taxonomy FILE] [--json FILE]

Without a list, all rules of the catalogue. A list is a Markdown file with one `- slug, slug: what it is` a line.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from snellen._env import shared_folder
from snellen.core.rule import Absent
from snellen.rules.catalogue import catalogue


def slugs_of(taxonomy: Path) -> list[str]:
    """The slugs that a list names."""
    found: dict[str, None] = {}
    for line in taxonomy.read_text(encoding="utf-8").splitlines():
        named = re.match(r"- ([a-z0-9, /()-]+?)(?::| \(|$)", line)
        parts = re.split(r"[,/;:]", line[2:]) if line.startswith("- ") else []
        if named:
            found.update(dict.fromkeys(slug.strip() for slug in re.split(r"[,/]", named[1])))
        for part in parts:
            if re.fullmatch(r"\s*[a-z0-9]+(?:-[a-z0-9]+)+\s*", part):
                found[part.strip()] = None
    return [slug for slug in found if "-" in slug and slug != "none-of-these"]


def main() -> None:
    """Count and list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--taxonomy", type=Path, default=shared_folder() / "failures" / "taxonomy.md")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rules = catalogue()
    slugs = slugs_of(options.taxonomy) if options.taxonomy.is_file() else list(rules)
    rows = []
    for slug in slugs:
        rule = rules.get(slug)
        before = rule is not None and not isinstance(rule.before, Absent)
        source = rule is not None and not isinstance(rule.source, Absent)
        rows.append({"slug": slug, "rule": rule is not None, "run": before, "code": source})
    width = max(len(str(row["slug"])) for row in rows)
    for row in rows:
        where = [name for name in ("run", "code") if row[name]]
        print(f"{row['slug']:{width}}  {', '.join(where) or ('not before a run' if row['rule'] else 'no rule')}")
    run, either = sum(bool(row["run"]) for row in rows), sum(bool(row["run"] or row["code"]) for row in rows)
    print(f"\n{len(rows)} failures: {run} ({run / len(rows):.0%}) by the run itself, ", end="")
    print(f"{either} ({either / len(rows):.0%}) with the run's code")
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "run": run, "either": either}, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
