"""From findings to trials: which function a fix changes, its text before and after, and a process to try both in."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from snellen.core.finding import Finding
from snellen.lint.fixes import apply_edits
from snellen.lint.read import ReadError, parse_text

__all__ = ["Proof", "Verdict", "prove"]


class Verdict(StrEnum):
    """What a trial showed."""

    SAME = "same"
    CHANGED = "changed"
    MENDED = "mended"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a trial of one fix showed.

    Args:
        finding: The finding whose fix was tried.
        verdict: `same`: equal results on every input that the function took before. `mended`: that, and inputs on which
            it failed before now give a finite result. `changed`: results differ. `cannot tell`: it could not be tried.
        text: The inputs and the results, or why it could not be tried.
    """

    finding: Finding
    verdict: Verdict
    text: str


def prove(findings: Iterable[Finding], *, seconds: float = 30) -> Iterator[Proof]:
    """Run the function around each fix, as it is and as it would be, on made-up tensors. This runs the user's code.

    Only the imports, the constants and the definitions of the file are executed, in a process of their own.

    Args:
        findings: Those with a fix that a program can apply are tried.
        seconds: Time for each; a trial that takes longer is given up.
    """
    for finding in findings:
        if finding.fix is None or not finding.fix.edits:
            continue
        case = _case(finding)
        if isinstance(case, str):
            yield Proof(finding, Verdict.CANNOT_TELL, case)
        else:
            yield _tried(finding, case, seconds)


def _case(finding: Finding) -> dict[str, str] | str:
    """What the trial needs, or why there can be none."""
    edits = finding.fix.edits if finding.fix is not None else ()
    path = Path(edits[0].path)
    if path.suffix != ".py":
        return f"{path.suffix or path.name} files hold no function that could be run alone"
    try:
        before = path.read_text(encoding="utf-8-sig")
        after, applied = apply_edits(before, [edits])
        trees = parse_text(before), parse_text(after)
    except (OSError, UnicodeDecodeError, ReadError) as error:
        return str(error)
    line = min((edit.start_line for edit in edits), default=0)
    name = _function_around(trees[0], line)
    if not applied or name is None:
        return "the fix lies outside any function"
    return {"path": str(path.absolute()), "function": name, "before": before, "after": after}


def _function_around(tree: ast.Module, line: int) -> str | None:
    """`function`, or `Class.method`, that a line lies in."""
    for node in tree.body:
        if not (node.lineno <= line <= (node.end_lineno or node.lineno)):
            continue
        if isinstance(node, ast.FunctionDef):
            return node.name
        if isinstance(node, ast.ClassDef):
            inner = next(
                (
                    one
                    for one in node.body
                    if isinstance(one, ast.FunctionDef) and one.lineno <= line <= (one.end_lineno or 0)
                ),
                None,
            )
            return f"{node.name}.{inner.name}" if inner is not None else None
    return None


def _tried(finding: Finding, case: dict[str, str], seconds: float) -> Proof:
    command = [sys.executable, "-m", "snellen.proving.trial"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(case),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            cwd=Path(case["path"]).parent,
        )
        data = json.loads(done.stdout.strip().rpartition("\n")[2])
        return Proof(finding, Verdict(data["verdict"]), str(data["text"]))
    except subprocess.TimeoutExpired:
        return Proof(finding, Verdict.CANNOT_TELL, f"`{case['function']}` did not end within {seconds:.0f} s")
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip() or "it printed no result").rpartition("\n")[2]
        return Proof(finding, Verdict.CANNOT_TELL, f"`{case['function']}` could not be run: {last[:200]}")
