import torch
from collections import deque


def train_epoch(model, loader, criterion, optimizer):
    total, kept, recent = 0.0, [], deque(maxlen=20)
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
        kept.append(loss.detach())
        recent.append(loss)
    return total, kept, recent


def unrolled(model, frames, optimizer, criterion):
    state, total = None, 0
    losses = []
    for frame, target in frames:
        output, state = model(frame, state)
        loss = criterion(output, target)
        total += loss
        losses.append(loss)
    optimizer.zero_grad()
    (total + torch.stack(losses).mean()).backward()
    optimizer.step()


def several_terms(model, loader, terms, optimizer):
    for batch in loader:
        loss = 0
        optimizer.zero_grad()
        for term in terms:
            loss = loss + term(model(batch))
        loss.backward()
        optimizer.step()


def plain(model, loader, criterion, optimizer):
    total = 0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        loss = loss.item()
        total += loss
        with torch.no_grad():
            total = total + loss
    return total


def accumulated(model, loader, criterion, optimizer, steps):
    loss = 0
    for number, (images, labels) in enumerate(loader):
        loss = loss + criterion(model(images), labels) / steps
        if (number + 1) % steps == 0:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            loss = 0
