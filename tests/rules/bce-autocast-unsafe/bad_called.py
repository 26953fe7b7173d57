"""Binary cross entropy in what is called under autocast."""

import torch
import torch.nn as nn
from torch.nn.functional import binary_cross_entropy


class MaskLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.bce = nn.BCELoss(reduction="mean")

    def forward(self, prediction, target):
        return self.bce(prediction, target) + self.edges(prediction, target)

    def edges(self, prediction, target):
        return binary_cross_entropy(prediction.diff(dim=-1).abs(), target.diff(dim=-1).abs())


def matching_cost(prediction, target):
    return binary_cross_entropy(prediction, target, reduction="none").sum(-1)


def step(model, images, target):
    losses = MaskLoss()
    with torch.autocast("cuda"):
        prediction = model(images)
        return losses(prediction, target) + matching_cost(prediction, target).mean()
