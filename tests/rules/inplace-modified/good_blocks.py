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


class Route(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 8)

    def forward(self, tokens):
        weights = torch.softmax(self.score(tokens), dim=-1)
        weights, chosen = torch.topk(weights, 2, dim=-1)
        weights /= weights.sum(dim=-1, keepdim=True)
        return weights, chosen


class MaskedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, mask):
        output = torch.softmax(scores.masked_fill(mask, -100.0), -1)
        output.masked_fill_(mask, 0)
        ctx.save_for_backward(output)
        return output
