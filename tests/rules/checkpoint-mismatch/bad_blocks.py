"""Checkpoints that do not say which variant they mean."""

import torch.utils.checkpoint as cp
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class Encoder(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.stem = nn.Sequential(*blocks)

    def forward(self, x):
        x = checkpoint_sequential(self.stem, 2, x)
        for block in self.blocks:
            x = checkpoint(block, x)
        return cp.checkpoint(
            self.stem,
            x,
            preserve_rng_state=False,
        )
