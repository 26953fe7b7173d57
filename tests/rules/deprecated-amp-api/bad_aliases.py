"""The old names under others."""

import torch
import torch.cuda.amp as mixed
from torch.cuda.amp.autocast_mode import autocast as half
from torch.cuda.amp.grad_scaler import GradScaler as Scaler

scaler = Scaler()
other = mixed.GradScaler(init_scale=1024.0)


def infer(model, images):
    with torch.inference_mode(), half(), torch.cpu.amp.autocast():
        return model(images)
