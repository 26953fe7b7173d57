import torch
import torch.nn as nn


class Mlp(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
        self.act = nn.ReLU()

    def forward(self, x):
        for layer in self.layers:
            x = self.act(layer(x))
        return x


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


class Pyramid(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.blocks = []
        for _ in range(depth):
            self.blocks.append(Block(width))
        self.heads = {"mask": nn.Conv2d(width, 1, 1), "edge": nn.Conv2d(width, 1, 1)}

    def forward(self, x):
        for i in range(len(self.blocks)):
            x = self.blocks[i](x)
        return {name: head(x) for name, head in self.heads.items()}
