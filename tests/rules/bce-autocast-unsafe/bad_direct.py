"""Binary cross entropy of probabilities where autocast is on."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def train(model, loader, optimizer, scaler):
    criterion = nn.BCELoss()
    for images, masks in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            prediction = model(images)
            loss = criterion(prediction, masks)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def evaluate(model, images, masks):
    with torch.no_grad(), torch.autocast(device_type="cuda", dtype=torch.bfloat16):
        return F.binary_cross_entropy(torch.sigmoid(model(images)), masks)


@torch.amp.autocast("cuda")
def score(logits, masks):
    return torch.nn.functional.binary_cross_entropy(logits.sigmoid(), masks, reduction="none")
