"""Softmax for predictions only, for targets, inside of the network, in evaluation mode only; and log_softmax."""

import torch
from torch import nn
from torch.nn import functional as F

criterion = nn.CrossEntropyLoss()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(784, 10)

    def forward(self, x):
        x = self.body(x)
        if not self.training:
            return F.softmax(x, dim=1)
        return x


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = nn.Linear(64, 64)

    def forward(self, x):
        weights = F.softmax(self.query(x) @ x.transpose(1, 2), dim=-1)
        return (weights @ x).mean(1)


class LogNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(784, 10)

    def forward(self, x):
        return F.log_softmax(self.body(x), dim=1)


def train(loader):
    net, attention, log_net = Net(), Attention(), LogNet()
    for x, y in loader:
        logits = net(x)
        loss = criterion(logits, y) + criterion(attention(x), y) + F.nll_loss(log_net(x), y)
        predicted = F.softmax(logits, dim=1).argmax(1)
        logits = logits.softmax(dim=1)
        print(loss.item(), predicted, logits)


def distil(student, teacher, x):
    return F.cross_entropy(student(x), F.softmax(teacher(x), dim=1))


def likelihood(x, y):
    return F.nll_loss(torch.log(F.softmax(x, dim=1) + 1e-8), y)


def mean_squared(x, y):
    return F.mse_loss(F.softmax(x, dim=1), y)
