import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models.segmentation import deeplabv3_resnet50

model = deeplabv3_resnet50(weights=None, num_classes=4)
pair = model(torch.randn(2, 3, 256, 256))["out"]


def train(train_set, val_set, optimizer, criterion):
    loader = DataLoader(train_set, batch_size=8, shuffle=True, drop_last=True)
    single = DataLoader(val_set, batch_size=1, shuffle=False)
    for image, mask in loader:
        optimizer.zero_grad()
        loss = criterion(model(image)["out"], mask)
        loss.backward()
        optimizer.step()
    return single


maps = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
