"""Logarithms of what rounds to zero."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def adversarial_loss(real, fake):
    real_loss = -torch.log(torch.sigmoid(real)).mean()
    fake_loss = -torch.log(1 - torch.sigmoid(fake)).mean()
    return real_loss + fake_loss


def cross_entropy(logits, target):
    probabilities = F.softmax(logits, dim=1)
    return -(target * torch.log(probabilities)).sum(1).mean()


def distillation_loss(student, teacher):
    return F.kl_div(torch.log(torch.softmax(student, 1)), teacher.softmax(1), reduction="batchmean")


def entropy_loss(logits):
    return -(logits.softmax(dim=-1) * logits.softmax(dim=-1).log()).sum(-1).mean()


class RMSELoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.mse = nn.MSELoss()

    def forward(self, prediction, target):
        return torch.sqrt(self.mse(prediction, target))


def angular_loss(a, b):
    return torch.acos(F.cosine_similarity(a, b)).mean()
