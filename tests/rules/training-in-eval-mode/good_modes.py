"""Training mode comes back; a teacher stays in evaluation mode; an image is optimised through a fixed network."""

import torch
import torchvision
from torch import nn


def run(model, optimizer, train_loader, val_loader, epochs):
    for epoch in range(epochs):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for images, labels in val_loader:
                print((model(images).argmax(1) == labels).float().mean().item())


def validate(model, loader):
    was = model.training
    model.eval()
    with torch.no_grad():
        total = sum(model(x).sum().item() for x in loader)
    model.train(was)
    return total


def back_in_validate(model, optimizer, train_loader, val_loader, epochs):
    for epoch in range(epochs):
        for images, labels in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        print(validate(model, val_loader))


def distil(student, optimizer, loader):
    teacher = torchvision.models.resnet50(weights="DEFAULT")
    teacher.eval()
    student.train()
    for images in loader:
        optimizer.zero_grad()
        with torch.no_grad():
            wanted = teacher(images)
        nn.functional.mse_loss(student(images), wanted).backward()
        optimizer.step()


def dream(image, steps):
    model = torchvision.models.vgg16(weights="DEFAULT").eval()
    image = image.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([image], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -model(image).square().mean()
        loss.backward()
        optimizer.step()
    return image


def frozen_norms(model, loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    model.eval()  # batch norm keeps its statistics: the batches are too small
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
