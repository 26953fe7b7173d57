"""Divided, in one of several ways; or not accumulated at all."""

from torch import nn


def inline(model, loader, optimizer, criterion, steps=4):
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        (loss / steps).backward()
        if (i + 1) % steps == 0:
            optimizer.step()
            optimizer.zero_grad()


def in_place(model, loader, optimizer, criterion, args):
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        loss /= args.accumulate
        loss.backward()
        if (i + 1) % args.accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()


def scaled(model, loader, optimizer, criterion, scaler, every):
    share = 1.0 / every
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y) * share
        scaler.scale(loss).backward()
        if (i + 1) % every == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()


def by_accelerate(model, loader, optimizer, criterion, accelerator, every):
    for i, (x, y) in enumerate(loader):
        loss = criterion(model(x), y)
        accelerator.backward(loss)
        if (i + 1) % every == 0:
            optimizer.step()
            optimizer.zero_grad()


def adversarial(generator, critic, loader, optimizer_g, optimizer_d, n_critic=5):
    for i, real in enumerate(loader):
        optimizer_d.zero_grad()
        d_loss = critic(generator(real)).mean() - critic(real).mean()
        d_loss.backward()
        optimizer_d.step()
        if i % n_critic == 0:
            optimizer_g.zero_grad()
            g_loss = -critic(generator(real)).mean()
            g_loss.backward()
            optimizer_g.step()


def printing(model, loader, optimizer):
    for i, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        if i % 100 == 0:
            print(loss.item())
