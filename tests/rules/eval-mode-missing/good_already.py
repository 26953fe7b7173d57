import torch
from torch import nn
from transformers import AutoModel

model = AutoModel.from_pretrained("facebook/dinov2-base")
linear = nn.Sequential(nn.Linear(768, 10))


def embed(loader):
    with torch.no_grad():
        for images in loader:
            yield linear(model(images).pooler_output)


def teach(student, teacher, loader, optimizer):
    for images in loader:
        with torch.no_grad():
            wanted = teacher(images)
        optimizer.zero_grad()
        (student(images) - wanted).abs().mean().backward()
        optimizer.step()


@torch.no_grad()
def update_bn(network, loader):
    for images in loader:
        network(images)
