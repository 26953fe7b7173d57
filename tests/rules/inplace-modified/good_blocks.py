"""In-place changes of what nothing needs, and new tensors."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        shortcut = x
        x = self.first(x)
        x += shortcut
        x = F.relu(x)
        x = x + shortcut
        x *= 2
        gate = torch.sigmoid(x)
        gate = gate.clone()
        gate[gate < 0.5] = 0
        with torch.no_grad():
            seen = torch.sigmoid(self.first(x))
            seen += 1
        if not self.training:
            scores = torch.softmax(self.first(x), dim=1)
            scores[:, 0] = 0
            return scores
        return x * gate + seen
