"""Checkpoints that say which variant they mean, and checkpoints of another kind."""

import torch
import torch.utils.checkpoint as cp
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class Encoder(nn.Module):
    def __init__(self, blocks, **options):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.stem = nn.Sequential(*blocks)
        self.options = options

    def forward(self, x):
        x = checkpoint_sequential(self.stem, 2, x, use_reentrant=False)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=True)
        return cp.checkpoint(self.stem, x, **self.options)


def save(model, path):
    checkpoint = {"model": model.state_dict()}
    torch.save(checkpoint, path)
