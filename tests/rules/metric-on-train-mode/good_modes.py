"""Evaluation mode is entered: by the caller, by the function, by a helper; or the network has no modes."""

import torch
from torch import nn


def train(model, loader, optimizer):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


@torch.no_grad()
def evaluate(model, loader):
    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)


@torch.no_grad()
def validate(model, loader):
    hits = 0
    for x, y in loader:
        hits += (model(x).argmax(1) == y).sum().item()
    return hits


def main(model, optimizer, train_loader, val_loader):
    for epoch in range(10):
        train(model, train_loader, optimizer)
        model.eval()
        print(evaluate(model, val_loader), validate(model, val_loader))


def inline(model, optimizer, train_loader, val_loader):
    for epoch in range(10):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            model.train(False)
            for x, y in val_loader:
                print((model(x).argmax(1) == y).float().mean().item())
