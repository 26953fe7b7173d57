import re

import torch
from torch.utils.checkpoint import checkpoint

PATTERN = re.compile("layer[0-9]")


class Net(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(torch.relu, x, use_reentrant=True)
