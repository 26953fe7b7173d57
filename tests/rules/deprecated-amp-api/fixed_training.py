"""The old names, each in another way."""

import torch
from torch import amp
from torch.amp import GradScaler, autocast, custom_bwd, custom_fwd


class Sign(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cuda")
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    @custom_bwd(device_type="cuda")
    def backward(ctx, gradient):
        return gradient


class Round(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, x):
        return x.round()


def build(enabled):
    scaler = GradScaler("cuda", enabled=enabled)
    other = torch.amp.GradScaler("cuda", 2.0**14)
    return scaler, other


def step(model, images, enabled):
    with autocast("cuda", enabled=enabled, dtype=torch.bfloat16):
        first = model(images)
    with torch.amp.autocast("cuda",
        enabled=enabled,
        dtype=torch.float16,
    ):
        second = model(images)
    with amp.autocast("cuda"), torch.no_grad():
        third = model(images)
    return first, second, third


@autocast("cuda")
def predict(model, images):
    return model(images)
