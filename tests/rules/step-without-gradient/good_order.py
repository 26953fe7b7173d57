"""Every order that leaves gradients for the step."""

import torch
from torch import nn


def usual(model, loader, optimizer, criterion):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()


def cleared_after(model, loader, optimizer, criterion):
    for x, y in loader:
        criterion(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()


def adversarial(generator, critic, loader, opt_g, opt_d):
    for real in loader:
        opt_d.zero_grad()
        d_loss = critic(generator(real).detach()).mean() - critic(real).mean()
        d_loss.backward()
        opt_d.step()
        opt_g.zero_grad()
        g_loss = -critic(generator(real)).mean()
        g_loss.backward()
        opt_d.zero_grad()
        opt_g.step()


def several_losses(model, loader, optimizer, losses):
    for x, y in loader:
        optimizer.zero_grad()
        for loss in losses:
            loss(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def penalty(model):
    loss = sum(p.abs().sum() for p in model.parameters())
    loss.backward()


def in_function(model, loader, optimizer, criterion):
    for x, y in loader:
        criterion(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        penalty(model)
        optimizer.step()
        optimizer.zero_grad()


def one_step(model, x, y):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
