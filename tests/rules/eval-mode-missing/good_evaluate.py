import torch
from transformers import AutoModel


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    return sum((model(images).argmax(1) == labels).sum().item() for images, labels in loader)
