"""Provoke failures for real, on a CPU, and keep the text that today's libraries print.

    PYTHONPATH=tests/helpers python -m provoke          write tests/rules/<slug>/fires_today_*.log anew
    PYTHONPATH=tests/helpers python -m provoke SLUG...  only those of some rules

One module a family of rules; every function there ends in the failure of its slug, or returns the text of a log that
shows it.
"""

from __future__ import annotations

import importlib
import pkgutil

from provoke.machinery import CASES, provoke

__all__ = ["CASES", "provoke"]

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"provoke.{_module.name}")
