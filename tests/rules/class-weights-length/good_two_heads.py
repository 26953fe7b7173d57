import torch
from torch import nn


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.species = nn.Sequential(nn.Flatten(), nn.Linear(512, 10))
        self.fc = nn.Linear(512, 10)
        self.head = nn.Linear(512, 2)
        self.loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 4.0]))


head = dict(type="BBoxHead", num_classes=2, loss_cls=dict(type="CrossEntropyLoss", class_weight=[1.0, 2.0, 0.1]))
