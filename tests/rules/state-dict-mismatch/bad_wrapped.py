import torch
from torch import nn


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def train(loader, loss_function):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    if torch.cuda.device_count() > 1:
        model = nn.DataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for images, labels in loader:
        optimizer.zero_grad()
        loss_function(model(images), labels).backward()
        optimizer.step()
    torch.save(model.state_dict(), "last.pth")


def predict(image):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    model.load_state_dict(torch.load("last.pth", weights_only=True))
    model.eval()
    with torch.no_grad():
        return model(image)
