"""What a few-shot run can tell a check: what an embedding with the same backbone can, for nothing is trained."""

from __future__ import annotations

from snellen.tasks.embed.facts import FACTS, RESOLVERS

__all__ = ["FACTS", "RESOLVERS"]
