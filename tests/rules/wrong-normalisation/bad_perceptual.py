import torch
from torch import nn
from torchvision.models import VGG19_Weights, vgg19


class PerceptualLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = vgg19(weights=VGG19_Weights.IMAGENET1K_V1).features[:16].eval()
        for parameter in self.features.parameters():
            parameter.requires_grad_(False)

    def forward(self, restored, target):
        return nn.functional.l1_loss(self.features(restored), self.features(target))


class Restorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image):
        return torch.tanh(self.body(image))
