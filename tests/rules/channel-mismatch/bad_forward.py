import torch.nn.functional as F
from torch import nn
from torch.nn import Conv2d

WIDTH = 24


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Conv2d(1, WIDTH, 3, padding=1)
        self.second = Conv2d(2 * WIDTH, 48, 3, padding=1)
        self.norm = nn.GroupNorm(8, 96)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(F.relu(self.first(x)))
        x = self.second(x)
        return F.gelu(self.norm(x))
