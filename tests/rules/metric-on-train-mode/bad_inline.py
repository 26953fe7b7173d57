import torch
import torchvision
from torch import nn


def main(train_loader, val_loader, epochs):
    model = torchvision.models.resnet18(num_classes=10).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images.cuda()), labels.cuda())
            loss.backward()
            optimizer.step()
        correct = total = 0
        with torch.no_grad():
            for images, labels in val_loader:
                output = model(images.cuda())
                correct += (output.argmax(1) == labels.cuda()).sum().item()
                total += len(labels)
        print(epoch, correct / total)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.drop(self.conv(x).mean((2, 3))))


def evaluate(net, loader):
    hits = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (net(x).argmax(1) == y).sum().item()
    return hits


def fit(train_loader, test_loader):
    net = Net()
    opt = torch.optim.Adam(net.parameters())
    for epoch in range(5):
        net.train()
        for x, y in train_loader:
            opt.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            opt.step()
        print(evaluate(net, test_loader))
