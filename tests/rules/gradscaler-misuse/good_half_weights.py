"""Scalers with float32 weights, and half models that are not trained."""

import torch

from project import Net, Teacher, criterion


def train(loader, path):
    model, teacher = Net().cuda(), Teacher().cuda()
    teacher.half()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    scaler = torch.amp.GradScaler("cuda")
    for images, labels in loader:
        optimizer.zero_grad()
        with torch.no_grad():
            target = teacher(images.half()).float()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(images), labels, target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    model.half()
    torch.save(model.state_dict(), path)
