"""Ways to make the error go away and the learning with it."""

import torch
from torch.autograd import Variable


def by_flag(model, loader, optimizer, criterion):
    for images, labels in loader:
        optimizer.zero_grad()
        predicted = model(images).argmax(dim=1).float()
        loss = criterion(predicted, labels.float())
        loss.requires_grad = True
        loss.backward()
        optimizer.step()


def by_method(model, loader, optimizer, criterion):
    for images, labels in loader:
        optimizer.zero_grad()
        output = model(images).detach()
        loss = criterion(output, labels)
        loss.requires_grad_(True)
        loss.backward()
        optimizer.step()


def by_copy(model, loader, optimizer, dice):
    for images, masks in loader:
        optimizer.zero_grad()
        score = dice(model(images).cpu().detach().numpy(), masks.numpy())
        loss = torch.tensor(1 - score, requires_grad=True)
        loss.backward()
        optimizer.step()


def by_variable(model, loader, optimizer, criterion):
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss = Variable(loss, requires_grad=True)
        loss.backward()
        optimizer.step()
