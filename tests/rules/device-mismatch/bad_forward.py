"""Tensors that are made on the CPU and meet the batch."""

import torch
from torch import nn


class Tokens(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.position = nn.Embedding(196, dim)
        self.scale = nn.Linear(dim, dim)

    def forward(self, x):
        batch, count, dim = x.shape
        token = torch.zeros(batch, 1, dim)
        x = torch.cat((token, x), dim=1)
        return self.scale(x) + self.position(torch.arange(count + 1))


class Noisy(nn.Module):
    def forward(self, features, strength):
        size = features.shape
        noisy = features + strength * torch.randn(size)
        noise = torch.randn(size)
        return features + noise, noisy


class Padded(torch.nn.Module):
    def forward(self, feats):
        feats = feats.flatten(2)
        return torch.cat([feats, torch.full((feats.shape[0], 1, 4), 0.5)], 1)
