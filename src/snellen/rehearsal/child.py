"""The process that a rehearsal's stages run in: `python -m snellen.rehearsal.child PLAN.json STAGE...`.

What it says goes into `events.jsonl` beside the plan, a line each, so that nothing is lost when it dies.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from snellen.core.collecting import collect_seldom
from snellen.core.files import append_json_line
from snellen.rehearsal.failing import Absent, Several, failure_of
from snellen.rehearsal.stages import STAGES

__all__ = ["main"]


def main(plan_file: Path, stages: list[str]) -> None:
    """Run the stages one after the other; each ends in one line, whatever it raises."""
    from snellen.rehearsal.life import Life  # noqa: PLC0415 - a broken task is a stage's failure, not the process's

    plan = json.loads(plan_file.read_text(encoding="utf-8"))
    events = plan_file.parent / "events.jsonl"
    life = Life(plan, tell=lambda event: append_json_line(events, {"event": event, "stage": "train"}))
    broken: set[str] = set()
    for name in stages:
        if broken & set(STAGES[name].needs):
            broken.add(name)
            continue
        append_json_line(events, {"event": "begin", "stage": name})
        line = _run(life, name)
        append_json_line(events, {"event": "end", "stage": name, **line})
        if any(failure["level"] == "error" for failure in line.get("failures", ())):
            broken.add(name)


def _run(life: Any, name: str) -> dict[str, Any]:
    try:
        return {"note": getattr(life, name.replace("-", "_"))()}
    except Absent as answer:
        return {"absent": str(answer)}
    except Several as several:
        return {"failures": [asdict(failure) for failure in several.failures]}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - every error of a stage is its outcome
        return {"failures": [asdict(failure_of(error))]}


if __name__ == "__main__":
    collect_seldom()
    main(Path(sys.argv[1]), sys.argv[2:])
    sys.stdout.flush()
    # Threads that a library left behind must not keep a finished rehearsal waiting.
    os._exit(0)
