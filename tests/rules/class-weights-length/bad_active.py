import torch
from torch import nn
from torchvision.models import resnet50


def build(class_weights, device):
    active_classes = torch.nonzero(class_weights).squeeze(1).tolist()
    model = resnet50()
    model.fc = nn.Linear(model.fc.in_features, len(active_classes))
    criterion = nn.CrossEntropyLoss(weight=class_weights.to(device))
    return model.to(device), criterion
