"""Scaled, in bfloat16, on the CPU, chosen at run time, or evaluated only."""

import torch
from torch import nn
from torch.nn import functional as F


def scaled(model, loader, optimizer):
    scaler = torch.amp.GradScaler("cuda")
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def brain(model, loader, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast(device_type="cuda", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def on_cpu(model, loader, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cpu"):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def chosen(model, loader, optimizer, dtype):
    for x, y in loader:
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=dtype):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()


def by_helper(model, loader, optimizer, loss_scaler):
    for x, y in loader:
        optimizer.zero_grad()
        with torch.cuda.amp.autocast():  # snellen: ignore[deprecated-amp-api]
            loss = F.cross_entropy(model(x), y)
        loss_scaler(loss, optimizer, parameters=model.parameters())


def evaluated(model, loader, optimizer, val_loader):
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad(), torch.autocast("cuda", dtype=torch.float16):
        return [nn.functional.softmax(model(x), 1).argmax(1) for x, _ in val_loader]
