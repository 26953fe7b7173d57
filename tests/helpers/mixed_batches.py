"""Samples of all kinds and how they are collated; a module of its own, as loader processes import it by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

__all__ = ["COUNT", "Gather", "Mixed"]

COUNT = 24


class Mixed:
    """Samples of all that a batch may hold."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> dict[str, Any]:
        numbers = np.random.default_rng(index)
        return {
            "pixels": torch.from_numpy(numbers.integers(0, 256, (3, 60 + index, 64), dtype=np.uint8)),
            "half": torch.from_numpy(numbers.random((8, 50))).to(torch.bfloat16).T,
            "mask": torch.from_numpy(numbers.random((5, 7)) > 0.5),
            "whole": numbers.random((40, 100)).astype(np.float32)[::-1],
            "label": torch.tensor(index),
            "nothing": torch.zeros(0, 4),
            "drawn": torch.rand(3),
            "file": f"{index}.png",
        }


class Gather:
    """Collates them into lists, stacks and a nested dictionary."""

    def collate(self, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        stacked = {name: torch.stack([sample[name] for sample in samples]) for name in ("half", "label", "drawn")}
        return {
            "files": [sample["file"] for sample in samples],
            "pixels": [sample["pixels"] for sample in samples],
            "whole": tuple(sample["whole"] for sample in samples),
            "nested": {"mask": samples[0]["mask"], "nothing": samples[0]["nothing"], "count": len(samples)},
            **stacked,
        }
