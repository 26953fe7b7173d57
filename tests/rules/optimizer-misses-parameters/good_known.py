"""All parameters are known: the model is complete first, lists are registered, what is added later is handed on."""

import torch
import torchvision
from torch import nn


def complete_first(loader):
    model = torchvision.models.resnet18(weights="DEFAULT")
    model.fc = nn.Linear(512, 7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model = nn.DataParallel(model)
    model = model.cuda()
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def made_again(loader):
    model = torchvision.models.resnet18(weights="DEFAULT")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.fc = nn.Linear(512, 7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def added(loader, epochs):
    model = torchvision.models.resnet18(weights="DEFAULT")
    optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.01)
    for epoch in range(epochs):
        if epoch == 3:
            for p in model.layer4.parameters():
                p.requires_grad = True
            optimizer.add_param_group({"params": model.layer4.parameters()})
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


def loaded_for_the_test(loader, test_loader, path):
    model = torchvision.models.resnet18(num_classes=7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model = torchvision.models.resnet18(num_classes=7)
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    with torch.no_grad():
        return [model(x).argmax(1) for x, _ in test_loader]
