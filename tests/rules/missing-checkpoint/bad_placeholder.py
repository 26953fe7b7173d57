import torch

state = torch.load("/path/to/checkpoint.pth", weights_only=True)
