"""Losses with a graph."""

import torch


def distil(model, teacher, images, labels, criterion, optimizer):
    optimizer.zero_grad()
    with torch.no_grad():
        target = teacher(images)
    loss = criterion(model(images), target, labels)
    loss.backward()
    optimizer.step()
    return loss.detach()


@torch.no_grad()
def attack(model, images, labels, criterion):
    with torch.enable_grad():
        images = images.clone().requires_grad_()
        loss = criterion(model(images), labels)
        loss.backward()
    return images.grad.sign()


def phase(model, images, labels, criterion, optimizer, training):
    optimizer.zero_grad()
    with torch.set_grad_enabled(training):
        loss = criterion(model(images), labels)
    if training:
        loss.backward()
        optimizer.step()
