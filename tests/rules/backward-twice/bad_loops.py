"""Graphs that are walked a second time."""

import torch
import torch.nn as nn


def train(model, loader, criterion, optimizer):
    total_loss = 0
    for images, labels in loader:
        optimizer.zero_grad()
        total_loss += criterion(model(images), labels)
        total_loss.backward()
        optimizer.step()


def twice(model, images, labels, criterion):
    loss = criterion(model(images), labels)
    loss.backward()
    print("first pass done")
    loss.backward()


def frames(loader, optimizer):
    rnn = nn.LSTM(64, 64)
    state = (torch.zeros(1, 8, 64), torch.zeros(1, 8, 64))
    for clip in loader:
        optimizer.zero_grad()
        output, state = rnn(clip, state)
        loss = output.square().mean()
        loss.backward()
        optimizer.step()
