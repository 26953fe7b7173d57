"""Results that the backward pass needs, changed in place."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = F.relu(self.first(x))
        out += x
        scaled = self.relu(self.second(out))
        scaled *= 1 + 0.5
        return scaled


class Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, tokens):
        gate = torch.sigmoid(self.score(tokens))
        gate[gate < 0.5] = 0
        weights = torch.softmax(self.score(tokens), dim=1)
        weights.clamp_(min=1e-6)
        return gate * weights * tokens


class Scores(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        scores = self.head(x).sigmoid()
        scores /= 0.5
        return scores
