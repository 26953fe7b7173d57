"""The right order, an explicit epoch, plateaus, guarded steps and schedulers that are none of the optimiser's."""

import torch


def per_batch(model, loader, criterion, optimizer, scheduler):
    for images, labels in loader:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()
        scheduler.step()


def per_epoch(model, loader, criterion, optimizer, scheduler, epochs):
    for epoch in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
        scheduler.step()


def of_timm(model, loader, criterion, optimizer, lr_scheduler, epochs):
    for epoch in range(epochs):
        lr_scheduler.step(epoch)
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()


def guarded(model, loader, criterion, optimizer, scheduler, epochs):
    for epoch in range(epochs):
        if epoch > 0:
            scheduler.step()
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()


def plateau(model, loader, criterion, validate, epochs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    for epoch in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
        scheduler.step(validate(model))


def resumed(optimizer, scheduler, start, epochs, train):
    for _ in range(start):
        scheduler.step()
    for epoch in range(start, epochs):
        train(epoch)
        optimizer.step()
        scheduler.step()


def one_back(model, loader, criterion, optimizer, scheduler, start, epochs):
    scheduler.last_epoch = start - 1
    for epoch in range(start, epochs):
        scheduler.step()
        for images, labels in loader:
            optimizer.zero_grad()
            criterion(model(images), labels).backward()
            optimizer.step()
