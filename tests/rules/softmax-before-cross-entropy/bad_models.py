import torch
import torchvision
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Linear(784, 128)
        self.head = nn.Linear(128, classes)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        x = torch.relu(self.body(x.flatten(1)))
        return self.softmax(self.head(x))


class Sequence(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, classes), nn.Softmax(dim=-1))

    def forward(self, x):
        return self.net(x)


class Trainer:
    def __init__(self, device):
        self.model = Net(10).to(device)
        self.loss = nn.CrossEntropyLoss().to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters())

    def step(self, x, y):
        self.optimizer.zero_grad()
        out = self.model(x)
        loss = self.loss(out, y)
        loss.backward()
        self.optimizer.step()


def sequence(loader):
    model = nn.DataParallel(Sequence(10)).cuda()
    criterion = nn.CrossEntropyLoss()
    return [criterion(model(x), y).item() for x, y in loader]


def replaced_head(x, y):
    model = torchvision.models.resnet18(weights="DEFAULT")
    model.fc = nn.Sequential(nn.Linear(512, 4), nn.Softmax(dim=1))
    return F.cross_entropy(model(x), y)
