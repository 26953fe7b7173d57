import torch


def pad(height, width):
    height = ((height + 31) // 32) * 32
    width = ((width + 31) // 32) * 32
    return height, width


def model():
    return torch.hub.load("facebookresearch/dinov2", "dinov2_vits14")
