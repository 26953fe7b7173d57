"""No pattern of a rule runs away: on text made to hurt it, four times the text takes about four times as long.

Each rule is given its own triggers and the lines of its own examples, blown up with what patterns stumble over: runs of
spaces, digits, brackets, quotes, its triggers again and again. Time is compared with itself, so a slow machine does no
harm; a pattern that looks at a line once for every character of it would take sixteen times as long.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from snellen.core.log import Frame, Log, LoggedException, LogLine, MetricRecord
from snellen.core.rule import LogFacet, Rule
from snellen.explain.parse import parse
from snellen.rules.catalogue import catalogue

EXAMPLES = Path(__file__).parents[1] / "rules"
FACETS = {slug: rule for slug, rule in catalogue().items() if isinstance(rule.log, LogFacet)}
FILLERS = (
    "a",
    "a.",
    "a/",
    " ",
    "\t ",
    "1",
    "1,",
    "1.",
    "(",
    "[(",
    "'",
    "', '",
    '"',
    "=",
    "a=1, ",
    "-",
    ": ",
    "_",
    "nan ",
    "\\",
)
SMALL = 1000
TIMES = 4
TOO_MUCH = 9
"""Times as long for `TIMES` times the text; linear gives four, quadratic sixteen."""
NOTICEABLE = 0.05
"""Seconds below which nothing is held against a rule."""
PLACES = (r"\d+", r"'[^']*'", r'"[^"]*"', r"\([^()]*\)", r"\[[^\[\]]*\]", r" +", r"[\w./]{4,}")


def blown_up(line: str, filler: str) -> Iterator[str]:
    """The line with one of its pieces replaced."""
    for place in PLACES:
        found = list(re.finditer(place, line))
        for one in (found[0], found[-1]) if found else ():
            yield line[: one.start()] + filler + line[one.end() :]
    yield line + filler
    yield filler + line


@cache
def examples(slug: str) -> tuple[list[str], list[str]]:
    """Of the rule's examples the lines that hold one of its triggers, and the types of exceptions."""
    facet = FACETS[slug].log
    assert isinstance(facet, LogFacet)
    logs = [parse(path) for path in sorted((EXAMPLES / slug).glob("fires_*.log"))]
    lines = [line.text[:200] for log in logs for line in log.lines]
    types = sorted({error.type for log in logs for error in log.exceptions})
    return list(dict.fromkeys(line for line in lines if any(word in line.lower() for word in facet.triggers))), types


def hostile(rule: Rule, filler: str, size: int) -> Log:
    """A log that is made to hurt the rule."""
    assert isinstance(rule.log, LogFacet)
    run = (filler * (size // len(filler) + 1))[:size]
    texts = [text for trigger in rule.log.triggers[:8] for text in (f"{trigger}{run}", f"{trigger} {run} {trigger}")]
    texts += [(trigger * (size // len(trigger) + 1))[:size] for trigger in rule.log.triggers[:8]]
    lines, types = examples(rule.slug)
    texts += [text for line in lines[:4] for text in blown_up(line, run)]
    texts = texts or [run]
    frames = (Frame("train.py", 1, "f", run), Frame(run, 2, run, f"model({run})"))
    return Log(
        lines=tuple(LogLine(number, text) for number, text in enumerate(texts, 1)),
        exceptions=tuple(
            LoggedException(name, text, frames, number)
            for name in types[:2] or ["RuntimeError"]
            for number, text in enumerate(texts[:12], 1)
        ),
        metrics=(MetricRecord(1, {"loss": 1.0}), MetricRecord(2, {"loss": float("nan")})),
    )


def seconds(rule: Rule, log: Log) -> float:
    assert isinstance(rule.log, LogFacet)
    started = time.process_time()
    rule.log.examine(log)
    return time.process_time() - started


def growth(rule: Rule, filler: str) -> tuple[float, float]:
    """The least of some timings of the short text and of the long one, taken in turns."""
    pairs = [[seconds(rule, hostile(rule, filler, size)) for size in (SMALL, SMALL * TIMES)] for _ in range(5)]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


@pytest.mark.slow  # it takes times, which a busy machine spoils: it runs apart
@pytest.mark.parametrize("slug", FACETS)
def test_time_grows_with_the_text_and_not_faster(slug: str) -> None:
    rule = FACETS[slug]
    ran_away = []
    for filler in FILLERS:
        if seconds(rule, hostile(rule, filler, SMALL * TIMES)) < NOTICEABLE:
            continue
        short, long = growth(rule, filler)
        if long > NOTICEABLE and long > TOO_MUCH * short:
            ran_away.append(f"{filler!r}: {short:.3f} s became {long:.3f} s")
    assert not ran_away


def test_facets_were_found() -> None:
    assert len(FACETS) >= 17
