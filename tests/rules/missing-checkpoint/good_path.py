import torch


def load(path):
    torch.load("checkpoints/model.pth", weights_only=True)
    return torch.load(path, weights_only=True)
