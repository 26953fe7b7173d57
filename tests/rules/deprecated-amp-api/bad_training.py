"""The old names, each in another way."""

import torch
from torch.cuda import amp
from torch.cuda.amp import GradScaler, autocast, custom_bwd, custom_fwd


class Sign(torch.autograd.Function):
    @staticmethod
    @custom_fwd
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    @custom_bwd
    def backward(ctx, gradient):
        return gradient


class Round(torch.autograd.Function):
    @staticmethod
    @custom_fwd(cast_inputs=torch.float32)
    def forward(ctx, x):
        return x.round()


def build(enabled):
    scaler = GradScaler(enabled=enabled)
    other = torch.cuda.amp.GradScaler(2.0**14)
    return scaler, other


def step(model, images, enabled):
    with autocast(enabled, torch.bfloat16):
        first = model(images)
    with torch.cuda.amp.autocast(
        enabled=enabled,
        dtype=torch.float16,
    ):
        second = model(images)
    with amp.autocast(), torch.no_grad():
        third = model(images)
    return first, second, third


@autocast()
def predict(model, images):
    return model(images)
