"""Freezing that works."""

import timm
import torch
import torchvision
from torch import nn

model = torchvision.models.resnet50(weights="DEFAULT")
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(2048, 5)
model.fc.weight.requires_grad = True

backbone = timm.create_model("vit_small_patch16_224", pretrained=True)
backbone.requires_grad_(False)
backbone.eval()

mask = torch.zeros(3)
mask.requires_grad = True
print([p.requires_grad == False for p in model.parameters()])
assert backbone.cls_token.requires_grad == False


class Layer(nn.Module):
    def __init__(self, width, require_grad=True):
        super().__init__()
        self.require_grad = require_grad
        self.scale = nn.Parameter(torch.ones(width))
        self.scale.requires_grad = require_grad
        self.backbone = timm.create_model("resnet18", pretrained=True)
        for p in self.backbone.parameters():
            p.requires_grad = False

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self


class Node:
    """A value of a small library of its own."""

    def __init__(self, value, require_grad=False):
        self.value = value
        self.require_grad = require_grad


node = Node(1.0)
node.require_grad = True


def unlock(part):
    """Parameters and modules alike."""
    if isinstance(part, nn.Parameter):
        part.requires_grad = True
    else:
        for p in part.parameters():
            p.requires_grad = True
