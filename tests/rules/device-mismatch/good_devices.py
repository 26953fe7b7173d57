"""Tensors that are made or kept where the batch is."""

import torch
from torch import nn


class Tokens(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.sizes = torch.tensor([8, 16, 32])
        self.std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)

    def forward(self, x):
        x = (x - self.mean) / self.std.to(x.device)
        batch, count, dim = x.shape
        token = torch.zeros(batch, 1, dim, device=x.device)
        mask = torch.zeros(batch, 1, dim).to(x)
        noise = torch.randn(batch, count, dim)
        noise = noise.type_as(x)
        offset = torch.zeros(batch, 1, dim).cuda()
        order = torch.arange(count).tolist()
        half = torch.tensor(0.5)
        x = torch.cat([token, mask, x[:, order] + noise, offset], dim=1)
        return x * half, self.sizes.tolist()
