import functools
import time

import torch
from torch import nn


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        print("head", y.shape)
        return y


@torch.compile(fullgraph=True)
def step(x: torch.Tensor) -> torch.Tensor:
    start = time.perf_counter()
    return x * start


@functools.partial(torch.compile, fullgraph=True, dynamic=True)
def save(x: torch.Tensor) -> torch.Tensor:
    torch.save(x, "features.pt")
    return x


head = Head().cuda()
head = torch.compile(head, fullgraph=True, mode="max-autotune")
