import torch
from torch import nn
from torchvision.models import resnet50


def build(class_weights, device):
    active_classes = torch.nonzero(class_weights).squeeze(1).tolist()
    model = resnet50()
    model.fc = nn.Linear(model.fc.in_features, len(active_classes))
    filtered = class_weights[active_classes].to(device)
    return model.to(device), nn.CrossEntropyLoss(weight=filtered)
