import torch
from torch import nn


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)


class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 3)


flat = Image().to(memory_format=torch.channels_last)
deep = Volume().to(memory_format=torch.channels_last_3d)
for layer in deep.modules():
    if isinstance(layer, nn.Conv2d):
        layer.to(memory_format=torch.channels_last)
clip = torch.randn(1, 3, 8, 64, 64).to(memory_format=torch.channels_last_3d)
