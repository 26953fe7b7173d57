"""How many findings the linter has on healthy code: the packages that are installed, or folders.

    python benchmarks/lint_precision.py                      timm, torchvision, lightning and the like
    python benchmarks/lint_precision.py --packages timm kornia
    python benchmarks/lint_precision.py --paths ~/project/src

Every finding is printed, so that a person can say of each whether it is true.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections import Counter
from pathlib import Path

from snellen.lint.runner import chosen_rules, run

PACKAGES = ("timm", "torchvision", "segmentation_models_pytorch", "lightning", "torchmetrics")


def folder_of(package: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: uv sync --group benchmark")
    return Path(next(iter(spec.submodule_search_locations)))


def main() -> None:
    """Print the findings, and their number by package and rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", nargs="*", default=PACKAGES)
    parser.add_argument("--paths", nargs="*", type=Path, default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folders = {str(path): path for path in options.paths} or {name: folder_of(name) for name in options.packages}
    rules = chosen_rules()
    files = findings = 0
    by_rule: Counter[str] = Counter()
    results = {}
    for name, folder in folders.items():
        start = time.process_time()
        report = run([folder], rules)
        seconds = time.process_time() - start
        for finding in report.findings if not options.json else ():
            place = finding.location
            shown = f"{Path(place.path).relative_to(folder.parent)}:{place.line}" if place is not None else "-"
            print(f"{shown}: {finding.level.value}[{finding.slug}] {finding.message}")
        files, findings = files + report.files, findings + len(report.findings)
        by_rule.update(finding.slug for finding in report.findings)
        results[name] = {
            "files": report.files,
            "findings": len(report.findings),
            "errors": len(report.errors),
            "milliseconds_per_file": 1000 * seconds / max(1, report.files),
        }
    if options.json:
        print(json.dumps({"packages": results, "files": files, "findings": findings, "rules": by_rule}, indent=2))
        return
    print()
    for name, result in results.items():
        print(f"{name:<30} {result['files']:>4} files {result['findings']:>4} findings {result['errors']:>3} unread "
              f"{result['milliseconds_per_file']:6.1f} ms a file")  # fmt: skip
    print(f"{files} files, {findings} findings, {100 * findings / max(1, files):.2f} per 100 files, {len(rules)} rules")
    print(", ".join(f"{slug} {count}" for slug, count in by_rule.most_common()))


if __name__ == "__main__":
    main()
