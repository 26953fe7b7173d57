"""Losses that have no graph when they are sent backward."""

import torch
from torch import no_grad


@torch.no_grad()
def train(model, images, labels, criterion, optimizer):
    optimizer.zero_grad()
    loss = criterion(model(images), labels)
    loss.backward()
    optimizer.step()


def train_scaled(model, images, labels, criterion, optimizer, scaler):
    optimizer.zero_grad()
    with no_grad():
        output = model(images)
        loss = criterion(output, labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def train_logged(model, images, labels, criterion, optimizer):
    optimizer.zero_grad()
    loss = criterion(model(images), labels).detach()
    loss.backward()
    optimizer.step()


def train_old(model, images, labels, criterion, optimizer):
    optimizer.zero_grad()
    loss = criterion(model(images), labels)
    loss.data.backward()
    optimizer.step()
