"""Whether a fix changes what a function computes: one CPU step, with the function as it is and as it would be."""

from __future__ import annotations

from snellen.proving.cases import Proof, prove

__all__ = ["Proof", "prove"]
