"""Order of the answers: what ended the log, root causes, warnings; and that nothing hostile gets out."""

from __future__ import annotations

from snellen.core.finding import Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.rule import LogFacet, Rule, absent
from snellen.explain.episodes import episodes
from snellen.explain.parse import parse
from snellen.explain.rank import Ranking, rank


def rule(slug: str, words: str, score: float = 0.9, level: Level = Level.ERROR) -> Rule:
    """A rule that claims the first line that holds the words."""

    def examine(log: Log) -> LogMatch | None:
        line = next((line for line in log.lines if words in line.text), None)
        return LogMatch(score, (line.evidence,), f"because of {words}", Fix("fix it")) if line else None

    gap = absent("not needed in this test")
    facet = LogFacet((words.lower(),), examine)
    return Rule(
        slug=slug,
        family="tasks",
        title=slug,
        level=level,
        log=facet,
        source=gap,
        before=gap,
        during=gap,
        module=__name__,
    )


def ranked(text: str, *rules: Rule) -> Ranking:
    return rank(parse(f"{text}\n"), {one.slug: one for one in rules})


def slugs(ranking: Ranking) -> list[str]:
    return [one.slug for one in ranking.diagnoses]


FIRST = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    import x\nImportError: first'
SECOND = 'Traceback (most recent call last):\n  File "a.py", line 9, in f\n    go()\nValueError: second'
ONE, TWO = rule("one", "first", 0.95), rule("two", "second", 0.6)


def test_the_failure_that_ended_the_log_comes_first() -> None:
    ranking = ranked(f"{FIRST}\nuser@box:~/p$ python a.py\n{SECOND}", ONE, TWO)
    assert slugs(ranking) == ["two", "one"]
    assert "ended the log" in ranking.diagnoses[0].note
    assert "earlier failure" in ranking.diagnoses[1].note


def test_a_run_that_went_on_got_over_its_failure() -> None:
    went_on = "\n".join(f"epoch {number} loss: 0.5" for number in range(5))
    log = parse(f"{FIRST}\n{went_on}\n{SECOND}\n")
    assert [part.last for part in episodes(log)] == [True, False]
    assert len(episodes(log)[0].log.metrics) == 5
    assert slugs(ranked(f"{FIRST}\n{went_on}\n{SECOND}", ONE, TWO)) == ["two", "one"]
    assert len(episodes(parse(f"{FIRST}\n{SECOND}\n"))) == 1


def test_an_unknown_end_is_said_before_an_earlier_failure_that_is_known() -> None:
    ranking = ranked(f"{FIRST}\n$ python a.py\n{SECOND}", ONE)
    assert slugs(ranking) == ["one"]
    assert "ValueError: second" in ranking.failed


def test_the_same_answer_is_given_once() -> None:
    assert slugs(ranked(f"{FIRST}\n$ python a.py\n{FIRST}", ONE)) == ["one"]


def test_what_follows_comes_after_the_root_however_sure() -> None:
    text = f"{SECOND}\nsubprocess.CalledProcessError: Command 'x' returned non-zero exit status 1."
    assert slugs(ranked(text, TWO, rule("launcher", "non-zero", 0.99))) == ["two", "launcher"]


def test_a_warning_is_no_answer_to_a_failure() -> None:
    warning = "a.py:3: FutureWarning: old is deprecated"
    old = rule("old", "deprecated", 0.99, Level.WARNING)
    assert slugs(ranked(warning, old)) == ["old"]
    assert slugs(ranked(f"{warning}\n{SECOND}", old)) == []
    assert slugs(ranked(f"{warning}\n{SECOND}", old, TWO)) == ["two", "old"]


def test_nothing_hostile_gets_out() -> None:
    text = "second \x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066 \x00\x08\r\n"
    ranking = ranked(text, TWO)
    said = ranking.diagnoses[0].evidence[0].text
    assert said == "second gnp.exe"
