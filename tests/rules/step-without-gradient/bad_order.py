import torch
from torch import nn


def cleared_before_step(model, loader, criterion):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4)
    for images, labels in loader:
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()


def step_first(model, loader, optimizer):
    for images, labels in loader:
        optimizer.zero_grad(set_to_none=True)
        output = model(images)
        loss = nn.functional.cross_entropy(output, labels)
        optimizer.step()
        loss.backward()


class Trainer:
    def __init__(self, model):
        self.model = model
        self.opt = torch.optim.Adam(model.parameters())
        self.scaler = torch.amp.GradScaler("cuda")

    def training_step(self, x, y):
        with torch.autocast("cuda", dtype=torch.float16):
            loss = nn.functional.mse_loss(self.model(x), y)
        self.scaler.scale(loss).backward()
        self.opt.zero_grad()
        self.scaler.step(self.opt)
        self.scaler.update()


def cleared_at_the_end(model, loader, optimizer, criterion):
    for images, labels in loader:
        optimizer.step()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.zero_grad()
