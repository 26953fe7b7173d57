import timm
import torch
import torch.nn.functional as F
from torch import nn

grey = timm.create_model("resnet18", in_chans=1)
shape = grey(torch.randn(1, 1, 64, 64)).shape


class Branches(nn.Module):
    def __init__(self, wide):
        super().__init__()
        self.low = nn.Conv2d(3, 16, 1)
        self.high = nn.Conv2d(3, 32, 1)
        self.mix = nn.Conv2d(48, 8, 1)
        if wide:
            self.head = nn.Conv2d(8, 4, 1)
        else:
            self.head = nn.Conv2d(16, 4, 1)
        self.levels = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(3, 16, 1))

    def forward(self, x):
        both = torch.cat([self.low(x), self.high(x)], dim=1)
        y = self.head(self.mix(both))
        maps = [level(x) for level in self.levels]
        z = self.low(x)
        if y.shape[-1] > 8:
            z = self.high(x)
        z = F.pixel_shuffle(z, 2)
        return y, maps, z


block = nn.Sequential(nn.Conv2d(3, 32, 3), nn.PixelShuffle(2), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.GELU())
