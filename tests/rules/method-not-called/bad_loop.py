import torch
from torch import nn


def train(model, loader, optimizer):
    for images, labels in loader:
        optimizer.zero_grad
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()


class Trainer:
    def epoch(self, loader):
        for batch in loader:
            self.optimizer.zero_grad()
            loss = self.loss(batch)
            loss.backward
            self.optimizer.step()
        self.scheduler.step


def evaluate(model, loader):
    model.eval
    correct = 0
    with torch.no_grad():
        for images, labels in loader:
            correct += (model(images).argmax(1) == labels).sum().item()
    torch.cuda.empty_cache
    return correct
