"""How often `explain` names the root cause of real failure logs, and whether its scores mean what they say.

A line of LOGS.jsonl holds `log`, the text; `slug`, the true root cause, or `none-of-these` for a log that must get no
answer; and, where known, `hard` (the text alone misleads), `basis` (`thread`: settled there) and `id`.

Example: `python benchmarks/explain_accuracy.py logs.jsonl --misses --json accuracy.json`
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snellen.explain import examine
from snellen.rules.catalogue import catalogue

NONE = "none-of-these"
BINS = ((0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.01))
"""Scores that are counted together."""


@dataclass(frozen=True)
class Answered:
    """One log, its true cause and what was said."""

    id: str
    true: str
    hard: bool
    thread: bool
    given: tuple[tuple[str, float], ...]
    problems: tuple[str, ...]

    @property
    def first(self) -> str | None:
        """The slug of the best answer."""
        return self.given[0][0] if self.given else None

    @property
    def right(self) -> bool:
        """Whether the best answer is the true one, or rightly none."""
        return self.first == (None if self.true == NONE else self.true)

    @property
    def in_three(self) -> bool:
        """Whether one of the first three answers is the true one."""
        return self.true in [slug for slug, _ in self.given[:3]]


def read(paths: Iterable[Path]) -> list[Answered]:
    """Explain every log of the files."""
    answers = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            record = json.loads(line)
            ranking = examine(f"{record['log']}\n")
            given = tuple((one.slug, one.score) for one in ranking.diagnoses)
            name = str(record.get("id", f"{path.name}:{number}"))
            hard, thread = bool(record.get("hard")), record.get("basis") == "thread"
            answers.append(Answered(name, record["slug"], hard, thread, given, ranking.problems))
    return answers


def share(part: int, whole: int) -> float:
    """A fraction; of nothing, nan."""
    return part / whole if whole else float("nan")


def figures(answers: Sequence[Answered]) -> dict[str, Any]:
    """The figures of a set of logs."""
    known, unknown = [a for a in answers if a.true != NONE], [a for a in answers if a.true == NONE]
    return {
        "logs": len(answers),
        "known": len(known),
        "top_1": share(sum(a.right for a in known), len(known)),
        "top_3": share(sum(a.in_three for a in known), len(known)),
        "answered": share(sum(bool(a.given) for a in known), len(known)),
        "wrong_answers": sum(bool(a.given) and not a.right for a in known),
        "none_of_these": len(unknown),
        "wrong_on_none": sum(bool(a.given) for a in unknown),
    }


def calibration(answers: Sequence[Answered]) -> dict[str, Any]:
    """Best answers by score: how many there are, what they claim, how many are right; and the expected error."""
    claims = [(a.given[0][1], a.right) for a in answers if a.given]
    rows = []
    for low, high in BINS:
        inside = [(score, right) for score, right in claims if low <= score < high]
        if inside:
            claimed = sum(score for score, _ in inside) / len(inside)
            right = sum(right for _, right in inside) / len(inside)
            rows.append({"from": low, "to": min(high, 1.0), "count": len(inside), "claimed": claimed, "right": right})
    error = sum(row["count"] * abs(row["claimed"] - row["right"]) for row in rows) / max(len(claims), 1)
    return {"bins": rows, "expected_calibration_error": error}


def confusion(answers: Sequence[Answered]) -> list[tuple[str, str, int]]:
    """True cause, first answer, how often; only where they differ."""
    pairs = Counter((a.true, a.first or "(nothing)") for a in answers if not a.right)
    return [(true, given, count) for (true, given), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair))]


SUBSETS: dict[str, Callable[[Answered], bool]] = {
    "all": lambda _: True,
    "hard": lambda a: a.hard,
    "not hard": lambda a: not a.hard,
    "settled in the thread": lambda a: a.thread,
    "settled by the text": lambda a: not a.thread,
}


def measure(answers: Sequence[Answered]) -> dict[str, Any]:
    """Everything that is printed."""
    slugs = Counter(a.true for a in answers if a.true != NONE)
    right = Counter(a.true for a in answers if a.right)
    return {
        "rules": len(catalogue()),
        "subsets": {name: figures([a for a in answers if test(a)]) for name, test in SUBSETS.items()},
        "without_rule": sorted(set(slugs) - set(catalogue())),
        "by_slug": {slug: [right[slug], count] for slug, count in sorted(slugs.items())},
        "confusion": confusion(answers),
        "calibration": calibration(answers),
        "problems": sorted({problem for a in answers for problem in a.problems}),
        "misses": [asdict(a) for a in answers if not a.right],
    }


def report(result: dict[str, Any], *, misses: bool) -> None:
    """Print the tables."""
    print(f"{result['rules']} rules")
    print(f"{'':24}{'logs':>6}{'known':>7}{'top-1':>8}{'top-3':>8}{'answered':>10}{'wrong':>7}{'none: wrong':>13}")
    for name, row in result["subsets"].items():
        none = f"{row['wrong_on_none']} of {row['none_of_these']}"
        print(
            f"{name:24}{row['logs']:6}{row['known']:7}{row['top_1']:8.1%}{row['top_3']:8.1%}{row['answered']:10.1%}"
            f"{row['wrong_answers']:7}{none:>13}"
        )
    if result["without_rule"]:
        print(f"\nno rule: {', '.join(result['without_rule'])}")
    print("\nscore of the first answer   count  claimed  right")
    for row in result["calibration"]["bins"]:
        print(
            f"  {row['from']:.2f} to {row['to']:.2f}           {row['count']:8}{row['claimed']:9.2f}{row['right']:7.2f}"
        )
    print(f"expected calibration error {result['calibration']['expected_calibration_error']:.3f}")
    print("\ntrue cause                   first answer                 logs")
    for true, given, count in result["confusion"]:
        print(f"{true:28} {given:28} {count:4}")
    for problem in result["problems"]:
        print(f"problem: {problem}")
    if misses:
        print("\nmisses")
        for one in result["misses"]:
            said = ", ".join(f"{slug} {score:.2f}" for slug, score in one["given"]) or "nothing"
            print(f"  {one['id']}{' (hard)' if one['hard'] else ''}: {one['true']}, said: {said}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOGS.jsonl")
    parser.add_argument("--misses", action="store_true", help="List every log whose first answer is wrong or missing.")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(read(arguments.logs))
    report(result, misses=arguments.misses)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
