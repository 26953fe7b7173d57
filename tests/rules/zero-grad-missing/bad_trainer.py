import torch
from torch import nn


class Trainer:
    def __init__(self, model, loader, device="cuda"):
        self.model = model.to(device)
        self.loader = loader
        self.device = device
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=3e-4)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 50)
        self.loss_fn = nn.BCEWithLogitsLoss()

    def fit(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            for step, batch in enumerate(self.loader):
                loss = self.training_step(batch)
                if step % 100 == 0:
                    print(epoch, step, loss)
            self.scheduler.step()

    def training_step(self, batch):
        images, masks = (item.to(self.device) for item in batch)
        loss = self.loss_fn(self.model(images), masks)
        loss.backward()
        self.optimizer.step()
        return loss.item()
