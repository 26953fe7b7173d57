"""Loops that compute each graph once."""

import torch
import torch.nn as nn


def train(model, loader, criterion, optimizer):
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total


def several_views(model, loader, criterion, optimizer):
    for views, labels in loader:
        optimizer.zero_grad()
        loss = 0
        for view in views:
            loss += criterion(model(view), labels)
        loss.backward()
        optimizer.step()


def penalised(model, images, labels, criterion):
    loss = criterion(model(images), labels)
    loss.backward(retain_graph=True)
    loss.backward()


def frames(loader, optimizer):
    rnn = nn.GRU(64, 64)
    state = torch.zeros(1, 8, 64)
    for clip in loader:
        optimizer.zero_grad()
        output, state = rnn(clip, state)
        state = state.detach()
        output.square().mean().backward()
        optimizer.step()
