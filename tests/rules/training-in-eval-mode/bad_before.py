import torch
from torch import nn

from project.networks import Restorer


class Trainer:
    def __init__(self, lr):
        self.model = Restorer(dropout=0.1)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)

    def fit(self, loader, epochs):
        self.model.eval()
        for epoch in range(epochs):
            for blurred, sharp in loader:
                self.optimizer.zero_grad()
                loss = nn.functional.l1_loss(self.model(blurred), sharp)
                loss.backward()
                self.optimizer.step()
