"""Losses of logits, and of probabilities where autocast is off or on a CPU."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def train(model, images, masks):
    stable, plain = nn.BCEWithLogitsLoss(), nn.BCELoss()
    with torch.autocast("cuda", dtype=torch.float16):
        logits = model(images)
        loss = stable(logits, masks) + F.binary_cross_entropy_with_logits(logits, masks)
        with torch.autocast("cuda", enabled=False):
            loss = loss + plain(logits.float().sigmoid(), masks)
    return loss + plain(logits.float().sigmoid(), masks)


def on_a_cpu(model, images, masks):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return F.binary_cross_entropy(model(images).float().sigmoid(), masks)


def similarity_loss(prediction, target):
    return F.binary_cross_entropy(prediction, target)


def compare(prediction, target):
    return similarity_loss(prediction, target)
