import segmentation_models_pytorch as smp
import torch
from torch import nn


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, padding=1)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x):
        x = torch.relu(self.down(x))
        return torch.sigmoid(self.out(x))


def train(loader):
    model = UNet().cuda()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters())
    for images, masks in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), masks)
        loss.backward()
        optimizer.step()


def library(images, masks):
    model = smp.Unet("resnet34", classes=1, activation="sigmoid")
    return nn.functional.binary_cross_entropy_with_logits(model(images), masks)


def sequential(x, y):
    net = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())
    return nn.BCEWithLogitsLoss()(net(x), y)
