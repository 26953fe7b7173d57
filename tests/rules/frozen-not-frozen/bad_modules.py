import timm
import torch
import torchvision
from torch import nn


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = timm.create_model("vit_small_patch14_dinov2", pretrained=True)
        self.head = nn.Conv2d(384, 2, 1)
        self.backbone.requires_grad = False

    def forward(self, x):
        return self.head(self.backbone.forward_intermediates(x, indices=1)[1][0])


model = torchvision.models.vgg16(weights="DEFAULT").cuda()
model.features.requires_grad = False
for name, child in model.named_children():
    if name != "classifier":
        child.requires_grad = False


def freeze(net):
    net.requires_grad = False
    return [p for p in net.parameters() if p.requires_grad]
