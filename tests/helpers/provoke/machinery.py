"""How a failure is provoked, and how what it prints is kept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

CASES: dict[str, tuple[str, Callable[[Path], str | None]]] = {}
"""Name of a case to the rule and the function that provokes it in a folder of its own."""


def case(slug: str) -> Callable[[Callable[[Path], str | None]], Callable[[Path], str | None]]:
    """Register a function that ends in the failure of a rule, or returns the text of a log that shows it."""

    def keep(function: Callable[[Path], str | None]) -> Callable[[Path], str | None]:
        assert function.__name__ not in CASES, function.__name__
        CASES[function.__name__] = (slug, function)
        return function

    return keep


def provoke(name: str, folder: Path) -> str:
    """The log of one case."""
    try:
        return CASES[name][1](folder) or ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the log
        # The first frame is this very function, which no user has.
        own = error.__traceback__
        return "".join(traceback.format_exception(error.with_traceback(own.tb_next if own else None)))


def printed(function: Callable[[], object]) -> str:
    """What Python prints of a function: its warnings, then the traceback that ends it, if one does."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            function()
            end = ""
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the log
            own = error.__traceback__
            end = "".join(traceback.format_exception(error.with_traceback(own.tb_next if own else None)))
    told = (warnings.formatwarning(w.message, w.category, w.filename, w.lineno) for w in seen)
    # Anomaly detection prints the whole stack; what lies above the function no user has.
    above = r"(forward call that caused the error:\n).*?in printed\n    function\(\)\n"
    return re.sub(above, r"\1", "".join((*told, end)), flags=re.DOTALL)


def run_script(folder: Path, script: str) -> str:
    """What a script in the folder prints, in a process of its own."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def clean(text: str, folder: Path) -> str:
    """The text without this machine's folders."""
    here = Path(__file__).resolve().parents[3]
    for module in Path(__file__).parent.glob("*.py"):
        text = text.replace(str(module.resolve()), "/home/user/project/train.py")
    for path, name in ((folder, "/home/user/project"), (here, "/home/user/project"), (Path(sys.prefix), "/opt/venv")):
        text = text.replace(str(path), name)
    text = text.replace(f"{sys.base_prefix}", "/usr")
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
