"""A VRT that runs within a second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from snellen.models.vrt import VRT, VrtArchitecture

__all__ = ["TINY", "tiny_vrt"]

TINY = VrtArchitecture(
    window_size=(2, 4, 4),
    depths=(4, 2, 2, 2, 2, 2, 2, 2, 1),
    embed_dims=(8,) * 9,
    num_heads=(2,) * 9,
    indep_reconsts=(8,),
    mul_attn_ratio=0.5,
    deformable_groups=2,
)


def tiny_vrt(*, seed: int = 0, changes: dict[str, Any] | None = None, **options: Any) -> VRT:
    """With random weights, the last layers of the alignment too, which start at zero."""
    torch.manual_seed(seed)
    network = VRT(replace(TINY, **(changes or {})), **options)
    for name, parameter in network.named_parameters():
        if "conv_offset.6" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return network
