"""Rules over the steps of a running job."""

from __future__ import annotations

from snellen.guard.watcher import RuleGuard

__all__ = ["RuleGuard"]
