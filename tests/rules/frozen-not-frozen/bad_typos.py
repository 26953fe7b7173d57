import timm
import torch
import torchvision
from torch import nn

model = torchvision.models.resnet50(weights="IMAGENET1K_V2")
for param in model.parameters():
    param.require_grad = False
model.fc = nn.Linear(2048, 5)

encoder = timm.create_model("vit_small_patch16_224", pretrained=True)
for name, p in encoder.named_parameters():
    if "head" not in name:
        p.requires_grads = False

net = timm.create_model("convnext_tiny", pretrained=True)
for weight in net.parameters():
    weight.requires_grad == False
