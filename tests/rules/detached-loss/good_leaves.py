"""Inputs that are optimised, losses that start from zero, a loss that is asked first, and detached copies for printing."""

import torch
from torch import nn


def adversarial_example(model, image, label, steps=10):
    image = image.clone()
    image.requires_grad_(True)
    optimizer = torch.optim.SGD([image], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -nn.functional.cross_entropy(model(image), label)
        loss.backward()
        optimizer.step()
    return image.detach()


def several_terms(model, batches, optimizer, criterion):
    loss = torch.tensor(0.0, requires_grad=True)
    for images, labels in batches:
        loss = loss + criterion(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    printed = torch.tensor(loss.item())
    return printed


def sometimes_without_positives(model, loader, optimizer, criterion):
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        if not loss.requires_grad:
            loss.requires_grad_(True)
        loss.backward()
        optimizer.step()
