import lightning as L
import torch
from torch import nn
from torch.nn import functional as F


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.features = nn.Flatten()
        self.head = nn.Linear(784, 10)

    def forward(self, x):
        return F.softmax(self.head(self.features(x)), dim=1)

    def training_step(self, batch, index):
        images, labels = batch
        predicted = self(images)
        return F.cross_entropy(predicted, labels)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
