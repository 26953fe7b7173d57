import torch
from torch import nn


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.register_buffer("steps", torch.zeros(()))
        self.count = 0
        self.maps = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        self.maps = []
        self.maps.append(x)
        if not torch.compiler.is_compiling():
            self.count += 1
        return self.layer(x)

    def finish(self) -> None:
        self.count += 1


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x


model = torch.compile(Net())
uncompiled = Plain()
