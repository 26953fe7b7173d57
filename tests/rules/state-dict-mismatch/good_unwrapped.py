import torch
from torch import nn


def train(epochs):
    model = nn.Linear(784, 10)
    wrapped = nn.DataParallel(model)
    for _ in range(epochs):
        wrapped(torch.zeros(2, 784)).sum().backward()
    torch.save(model.state_dict(), "last.pth")


def predict():
    model = nn.Linear(784, 10)
    model.load_state_dict(torch.load("last.pth", weights_only=True))
    return model
