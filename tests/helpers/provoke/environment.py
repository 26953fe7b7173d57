"""Failures of the family environment."""

from __future__ import annotations

import textwrap
from pathlib import Path

from provoke.machinery import case, run_script


@case("wrong-project-root")
def started_in_tools(folder: Path) -> str:
    (folder / "utils").mkdir()
    (folder / "tools").mkdir()
    (folder / "utils" / "__init__.py").write_text("")
    (folder / "tools" / "train.py").write_text("from utils import helper\n")
    return run_script(folder, "tools/train.py")


@case("wrong-project-root")
def relative_import_in_script(folder: Path) -> str:
    (folder / "train.py").write_text("from .model import build\n")
    return run_script(folder, "train.py")


@case("wrong-project-root")
def nested_clone(folder: Path) -> str:
    (folder / "detector" / "detector").mkdir(parents=True)
    (folder / "detector" / "detector" / "__init__.py").write_text("build = 1\n")
    (folder / "train.py").write_text("from detector import build\n")
    return run_script(folder, "train.py")


@case("stale-module")
def pulled_after_import(folder: Path) -> str:
    (folder / "model.py").write_text("VERSION = 1\n")
    (folder / "cells.py").write_text(
        textwrap.dedent("""
        import model
        open("model.py", "w").write("VERSION = 2\\ndef build():\\n    return 1\\n")
        print("Updating 1f3c2aa..9be01d4\\nFast-forward\\n model.py | 3 ++-\\n 1 file changed, 2 insertions(+)")
        from model import build
        """)
    )
    return run_script(folder, "cells.py")
