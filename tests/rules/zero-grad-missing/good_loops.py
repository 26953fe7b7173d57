"""Gradients are cleared: by the optimiser, the model, a helper, the caller, by hand, or by a closure."""

import torch
from torch import nn


def by_optimizer(model, loader, criterion):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for images, labels in loader:
        optimizer.zero_grad(set_to_none=True)
        criterion(model(images), labels).backward()
        optimizer.step()


def by_model(model, loader, criterion, optimizer):
    for images, labels in loader:
        model.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()


def accumulating(model, loader, criterion, optimizer, accumulate=4):
    for index, (images, labels) in enumerate(loader):
        loss = criterion(model(images), labels) / accumulate
        loss.backward()
        if (index + 1) % accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()


def by_hand(model, loader, criterion, optimizer):
    for images, labels in loader:
        for p in model.parameters():
            p.grad = None
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()


def reset(optimizers):
    for optimizer in optimizers:
        optimizer.zero_grad()


def by_helper(model, loader, criterion, optimizer):
    for images, labels in loader:
        reset([optimizer])
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()


def by_closure(model, images, labels, criterion):
    optimizer = torch.optim.LBFGS(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)


def full_batch(model, loader, criterion, optimizer, epochs):
    for _ in range(epochs):
        optimizer.zero_grad()
        for images, labels in loader:
            loss = criterion(model(images), labels) / len(loader)
            loss.backward()
        optimizer.step()


def one_step(model, images, labels, optimizer):
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def find_codes(images, decoder, steps):
    codes = []
    for image in images:
        code = torch.zeros(64, requires_grad=True)
        optimizer = torch.optim.Adam([code], lr=0.1)
        loss = (decoder(code) - image).square().mean()
        loss.backward()
        optimizer.step()
        codes.append(code.detach())
    return codes
