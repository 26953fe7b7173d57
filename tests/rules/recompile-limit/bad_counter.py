import torch
from torch import nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.steps = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.steps += 1
        return self.layer(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.maps = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.block(x)
        self.maps.append(y)
        return y


model = Net().to("cuda")
model = torch.compile(model)
