"""Every fold has a model of its own, which starts in training mode."""

import torch
import torchvision
from torch import nn


def cross_validate(folds, epochs):
    scores = []
    for train_loader, val_loader in folds:
        model = torchvision.models.resnet18(num_classes=4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(epochs):
            for images, labels in train_loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            scores.append([(model(x).argmax(1) == y).float().mean().item() for x, y in val_loader])
    return scores
