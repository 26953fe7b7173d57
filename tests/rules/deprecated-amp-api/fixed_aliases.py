"""The old names under others."""

import torch
import torch.amp as mixed
from torch.amp import autocast as half
from torch.amp import GradScaler as Scaler

scaler = Scaler("cuda")
other = mixed.GradScaler("cuda", init_scale=1024.0)


def infer(model, images):
    with torch.inference_mode(), half("cuda"), torch.amp.autocast("cpu"):
        return model(images)
