"""Logarithms that are kept from zero, and numbers for people."""

import torch
import torch.nn.functional as F


def cross_entropy(logits, target):
    probabilities = F.softmax(logits, dim=1)
    log_probabilities = F.log_softmax(logits, dim=1)
    return -(target * torch.log(probabilities + 1e-8)).sum(1).mean() - log_probabilities.mean()


def adversarial_loss(real, fake):
    return -F.logsigmoid(real).mean() - torch.log(torch.sigmoid(fake).clamp(min=1e-6)).mean()


def rmse_loss(prediction, target):
    return torch.sqrt(F.mse_loss(prediction, target) + 1e-8)


def evaluate_rmse(prediction, target):
    return torch.sqrt(F.mse_loss(prediction, target)).item()


@torch.no_grad()
def uncertainty(logits):
    probabilities = logits.softmax(-1)
    return -(probabilities * probabilities.log()).sum(-1)


def angle_loss(a, b):
    cosine = F.cosine_similarity(a, b).clamp(-1 + 1e-6, 1 - 1e-6)
    return torch.acos(cosine).mean()
