"""Models that are trained in half precision themselves, with a scaler."""

import torch
from torch.amp import GradScaler

from project import Net, criterion


def train(loader):
    model = Net().cuda()
    model.half()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    scaler = GradScaler("cuda")
    for images, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(images.half()), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def fine_tune(loader):
    net = Net().half().cuda()
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    grad_scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
    for images, labels in loader:
        opt.zero_grad()
        loss = criterion(net(images.half()), labels)
        grad_scaler.scale(loss).backward()
        grad_scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        grad_scaler.step(opt)
        grad_scaler.update()
