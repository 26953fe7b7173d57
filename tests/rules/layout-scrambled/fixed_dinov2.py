import torch.nn as nn


class Encoder(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        out = self.backbone.get_intermediate_layers(x, n=1, reshape=True)[0]
        return out
