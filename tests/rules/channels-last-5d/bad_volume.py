import torch
from torch import nn
from torch.nn import Conv3d


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = Conv3d(width, width, 3, padding=1)


class VolumeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Block(16)
        self.head = nn.Linear(16, 2)


def build(device):
    net = VolumeNet().to(device)
    return net.to(device, memory_format=torch.channels_last)
