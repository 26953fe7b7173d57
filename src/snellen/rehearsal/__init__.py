"""The whole life of a run before it starts, shrunk: two steps, validation, save, kill, resume, predict, export."""

from __future__ import annotations

from snellen.rehearsal.conduct import rehearse

__all__ = ["rehearse"]
