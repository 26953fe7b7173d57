"""A plain loop, a step inside of a function, and gradients cleared in the wrong loop."""

import torch
from torch import nn, optim


def train(model, loader, epochs=10):
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for epoch in range(epochs):
        model.train()
        for images, labels in loader:
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()


def train_once_per_epoch(model, loader, criterion, epochs):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for epoch in range(epochs):
        optimizer.zero_grad()
        for images, labels in loader:
            output = model(images)
            loss = criterion(output, labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
