"""Conducts a rehearsal: runs the stages in other processes, kills where a kill is due, and says what went wrong.

A stage that crashes, hangs, or is killed for its memory ends its process and nothing else: the stages after it go on in
a new one. Everything is written into a scratch folder, which goes away.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from snellen.core.facts.data import FolderAudit
from snellen.core.files import read_json_lines
from snellen.core.finding import CheckResult, Evidence, Finding, Fix, Level, State
from snellen.errors import SnellenError
from snellen.explain import explain
from snellen.rehearsal.selection import choose, copy_few
from snellen.rehearsal.stages import STAGES, Failure, Outcome

__all__ = ["rehearse"]

STAGE_SECONDS: Final = 75.0
"""What a stage may take: two steps of a ViT-S took 42 s of it on two cores that eight others used as well."""
ALL_SECONDS: Final = 240.0
"""After which no further stage begins; a rehearsal takes 20 to 40 s on two cores of one's own."""
_TRAINING: Final = 8
_VALIDATION: Final = 4
_POLL_SECONDS: Final = 0.05
_TAIL_BYTES: Final = 60_000

Notify = Callable[[str, int, int], None]


@dataclass(slots=True)
class _Rehearsal:
    """One rehearsal under way."""

    scratch: Path
    notify: Notify | None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    deadline: float = 0.0
    read: int = 0

    @property
    def events(self) -> Path:
        return self.scratch / "events.jsonl"


def rehearse(
    run_file: Path,
    *,
    overrides: Sequence[str] = (),
    audits: Iterable[FolderAudit] = (),
    notify: Notify | None = None,
    stage_seconds: float = STAGE_SECONDS,
) -> tuple[tuple[CheckResult, ...], float]:
    """Go through the whole life of a run, shrunk.

    Args:
        run_file: The run; nothing of it is changed, and its output folder is not touched.
        overrides: Settings that win over the file.
        audits: The data folders, to choose the samples that are likely to break something; without them the first.
        notify: Is told which stage is under way.
        stage_seconds: What a stage may take.

    Returns:
        A result for each stage, and the seconds that all of it took.
    """
    started = time.monotonic()
    # A child that was just killed may still write its last checkpoint when the folder goes.
    with tempfile.TemporaryDirectory(prefix="snellen-rehearsal-", ignore_cleanup_errors=True) as scratch:
        rehearsal = _Rehearsal(Path(scratch), notify, deadline=started + ALL_SECONDS)
        plan = {
            "run_file": str(run_file.absolute()),
            "overrides": list(overrides),
            "scratch": scratch,
            "data": _shrunk_data(audits, Path(scratch)),
        }
        (rehearsal.scratch / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        _run_all(rehearsal, stage_seconds)
        results = tuple(_result(rehearsal.outcomes[name]) for name in STAGES)
    return results, time.monotonic() - started


def _shrunk_data(audits: Iterable[FolderAudit], scratch: Path) -> dict[str, dict[str, Any]]:
    """For each split the small copy of its folder, and the images to predict."""
    shrunk: dict[str, dict[str, Any]] = {}
    for audit in audits:
        samples = choose(audit, _TRAINING if audit.split == "train" else _VALIDATION)
        if not samples or not Path(audit.path).is_dir():
            continue
        try:
            folder = copy_few(audit, samples, scratch / "data" / audit.split)
        except OSError:
            # The whole folder does as well, only slower.
            continue
        images = [str(folder / Path(audit.path, sample.image).relative_to(audit.path)) for sample in samples]
        shrunk[audit.split] = {"folder": str(folder), "images": images}
    return shrunk


def _run_all(rehearsal: _Rehearsal, stage_seconds: float) -> None:
    while True:
        wanted = []
        for name, stage in STAGES.items():
            if name in rehearsal.outcomes:
                continue
            broken = [
                need for need in stage.needs if need in rehearsal.outcomes and not rehearsal.outcomes[need].usable
            ]
            if broken:
                reason = rehearsal.outcomes[broken[0]].skipped or f"rehearse-{broken[0]} did not come through"
                rehearsal.outcomes[name] = Outcome(name, skipped=reason)
            elif time.monotonic() > rehearsal.deadline:
                rehearsal.outcomes[name] = Outcome(name, skipped=f"all of it took {ALL_SECONDS:.0f} s")
            else:
                wanted.append(name)
        if not wanted:
            return
        _run_child(rehearsal, wanted, stage_seconds)


def _run_child(rehearsal: _Rehearsal, stages: Sequence[str], stage_seconds: float) -> None:
    """Run stages in one process until it is through, crashes, hangs, or is due to be killed."""
    command = [sys.executable, "-m", "snellen.rehearsal.child", str(rehearsal.scratch / "plan.json"), *stages]
    log = rehearsal.scratch / "child.log"
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=rehearsal.scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child,
    ):
        try:
            under_way = _watch(rehearsal, child, stages[0], stage_seconds)
        finally:
            _kill_group(child)
    if under_way is None:
        return
    stage, reason, seconds = under_way
    failure = _of_death(child.returncode, log, reason)
    rehearsal.outcomes[stage] = Outcome(stage, failures=(failure,), finished=False, seconds=seconds)


def _watch(
    rehearsal: _Rehearsal, child: subprocess.Popen[bytes], first: str, stage_seconds: float
) -> tuple[str, str, float] | None:
    """Follow a child to its end; the stage that it left unfinished, why, and after how long."""
    stage, began = first, time.monotonic()
    while True:
        ended = child.poll() is not None
        for event in _news(rehearsal):
            if event["event"] == "begin":
                stage, began = event["stage"], time.monotonic()
                if rehearsal.notify is not None:
                    rehearsal.notify(f"rehearsal: {STAGES[stage].title}", list(STAGES).index(stage), len(STAGES))
            elif event["event"] == "end":
                rehearsal.outcomes[event["stage"]] = _outcome(event, time.monotonic() - began)
            elif event["event"] == "kill me":
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
                note = "two steps, saved after the second, killed with SIGKILL in the third"
                rehearsal.outcomes["train"] = Outcome("train", note=note, seconds=time.monotonic() - began)
                return None
        if ended:
            return None if stage in rehearsal.outcomes else (stage, "", time.monotonic() - began)
        if time.monotonic() - began > stage_seconds:
            # Loading torch and the model belongs to the first stage of a process.
            child.kill()
            return stage, f"it was not through after {stage_seconds:.0f} s on this machine", time.monotonic() - began
        time.sleep(_POLL_SECONDS)


def _news(rehearsal: _Rehearsal) -> Sequence[Mapping[str, Any]]:
    events = list(read_json_lines(rehearsal.events))
    fresh = events[rehearsal.read :]
    rehearsal.read = len(events)
    return fresh


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """End a child and what it started: loaders outlive a parent that was killed."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _outcome(event: Mapping[str, Any], seconds: float) -> Outcome:
    failures = tuple(Failure(**failure) for failure in event.get("failures", ()))
    return Outcome(event["stage"], event.get("note", ""), failures, absent=event.get("absent", ""), seconds=seconds)


def _of_death(code: int, log: Path, reason: str) -> Failure:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        tail = file.read().decode("utf-8", "replace")
    if reason:
        return Failure(
            reason, hint="A machine with an accelerator is faster; here nothing more is known.", level="note"
        )
    if code < 0:
        name = signal.Signals(-code).name
        why = ": most often the system ended it because memory ran out" if name == "SIGKILL" else ""
        return Failure(f"its process was ended by {name}{why}", traceback=tail)
    return Failure(f"its process ended with code {code}", traceback=tail)


def _result(outcome: Outcome) -> CheckResult:
    stage = STAGES[outcome.stage]
    findings = tuple(_finding(outcome.stage, failure) for failure in outcome.failures)
    reason, state = outcome.note, State.PASSED
    if outcome.skipped:
        reason, state = outcome.skipped, State.SKIPPED
    elif outcome.absent:
        reason, state = outcome.absent, State.NOT_APPLICABLE
    elif findings:
        state = State.FAILED if any(one.level is Level.ERROR for one in findings) else State.WARNED
    return CheckResult(stage.slug, state, stage.title, findings, reason, outcome.seconds, family="rehearsal")


def _finding(stage: str, failure: Failure) -> Finding:
    """What went wrong, by the rule that knows it."""
    message = f"{STAGES[stage].title}: {failure.message}"
    slug = failure.slug or STAGES[stage].slug
    fix = Fix(failure.hint) if failure.hint else None
    evidence = tuple(Evidence(line.strip()) for line in failure.traceback.strip().splitlines()[-6:])
    if failure.traceback:
        try:
            diagnoses = explain(failure.traceback)
        except SnellenError:
            diagnoses = []
        for diagnosis in diagnoses[:1]:
            message = f"{message} ({diagnosis.cause})"
            slug, fix = failure.slug or diagnosis.slug, fix or diagnosis.fix
    return Finding(slug, Level(failure.level), message, evidence=evidence, fix=fix)
