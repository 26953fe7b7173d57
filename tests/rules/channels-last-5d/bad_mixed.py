import torch
import torch.nn as nn


class Deblur(nn.Module):
    def __init__(self):
        super().__init__()
        self.frames = nn.Conv3d(3, 16, (3, 3, 3))
        self.fuse = nn.Conv2d(16, 3, 3)


layout = torch.channels_last
model = Deblur().cuda()
model.to(memory_format=layout)
