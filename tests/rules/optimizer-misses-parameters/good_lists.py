"""Lists that are registered in another way, hold nothing to train, or hide a module on purpose."""

import torch
from torch import nn


class Registered(nn.Module):
    def __init__(self, width, depth, teacher):
        super().__init__()
        layers = [nn.Linear(width, width) for _ in range(depth)]
        self.body = nn.Sequential(*layers)
        self.blocks = [nn.Conv2d(width, width, 1) for _ in range(depth)]
        self.tower = nn.Sequential(*self.blocks)
        self.acts = [nn.ReLU(), nn.GELU()]
        self.teacher = [nn.Linear(width, width)]
        self.kinds = [nn.Linear, nn.Conv2d]
        self.shapes = [(1, 2), (3, 4)]
        self.heads = nn.ModuleList([nn.Linear(width, 1) for _ in range(2)])

    def forward(self, x):
        for act in self.acts:
            x = act(x)
        with torch.no_grad():
            target = self.teacher[0](x)
        return [head(self.tower(x) + len(self.blocks)) for head in self.heads], target, self.kinds, self.shapes


class OneByOne(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = []
        for i in range(depth):
            layer = nn.Linear(width, width)
            self.layers.append(layer)
            self.add_module(f"layer{i}", layer)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Ensemble:
    """No module: who makes the optimiser asks each of its members."""

    def __init__(self, depth):
        self.members = [nn.Linear(4, 4) for _ in range(depth)]

    def predict(self, x):
        return sum(member(x) for member in self.members)

    def parameters(self):
        return [p for member in self.members for p in member.parameters()]
