"""Cleared where the step is taken; and a second optimiser that steps less often on purpose."""


def together(model, loader, criterion, optimizer, n):
    optimizer.zero_grad()
    for i, (images, labels) in enumerate(loader):
        loss = criterion(model(images), labels) / n
        loss.backward()
        if (i + 1) % n == 0:
            optimizer.step()
            optimizer.zero_grad()


def before(model, loader, criterion, optimizer, n):
    for i, (images, labels) in enumerate(loader):
        if i % n == 0:
            optimizer.zero_grad()
        loss = criterion(model(images), labels) / n
        loss.backward()
        if (i + 1) % n == 0:
            optimizer.step()


def two(generator, critic, loader, opt_g, opt_d, n_critic):
    for i, real in enumerate(loader):
        opt_g.zero_grad()
        opt_d.zero_grad()
        d_loss = critic(generator(real).detach()).mean() - critic(real).mean()
        d_loss.backward()
        opt_d.step()
        if i % n_critic == 0:
            g_loss = -critic(generator(real)).mean()
            g_loss.backward()
            opt_g.step()
