import torch
from torch import nn


class Trainer:
    def __init__(self, model, loader):
        self.model = model
        self.loader = loader
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, max_lr=0.1, total_steps=1000)
        self.scaler = torch.amp.GradScaler("cuda")
        self.loss = nn.CrossEntropyLoss()

    def epoch(self):
        for images, labels in self.loader:
            self.optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = self.loss(self.model(images), labels)
            self.scaler.scale(loss).backward()
            self.scheduler.step()
            self.scaler.step(self.optimizer)
            self.scaler.update()


def plain(model, loader, criterion):
    optimizer = torch.optim.Adam(model.parameters())
    sched = torch.optim.lr_scheduler.LinearLR(optimizer)
    for images, labels in loader:
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        sched.step()
        optimizer.step()
