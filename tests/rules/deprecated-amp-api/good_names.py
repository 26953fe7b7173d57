"""The new names, and the old ones only where the new ones are missing."""

import torch
from torch.amp import GradScaler as Scaler

try:
    from torch.amp import custom_fwd
except ImportError:
    from torch.cuda.amp import custom_fwd

if hasattr(torch.amp, "GradScaler"):
    make = torch.amp.GradScaler("cuda")
else:
    make = torch.cuda.amp.GradScaler()

scaler = Scaler("cuda")


class Sign(torch.autograd.Function):
    @staticmethod
    @custom_fwd
    def forward(ctx, x):
        return x.sign()


def infer(model, images):
    with torch.inference_mode(), torch.amp.autocast("cuda"), torch.autocast("cuda", dtype=torch.float16):
        return model(images)
