import timm
import torch
from torch import nn


class Trainer:
    def __init__(self, train_loader, val_loader):
        self.model = timm.create_model("efficientnet_b0", num_classes=4)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.train_loader, self.val_loader = train_loader, val_loader

    def fit(self, epochs):
        for epoch in range(epochs):
            self.train_epoch()
            print(epoch, self.validate())

    def train_epoch(self):
        self.model.train()
        for images, labels in self.train_loader:
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(images), labels)
            loss.backward()
            self.optimizer.step()

    @torch.no_grad()
    def validate(self):
        losses = []
        for images, labels in self.val_loader:
            losses.append(nn.functional.cross_entropy(self.model(images), labels).item())
        return sum(losses) / len(losses)
