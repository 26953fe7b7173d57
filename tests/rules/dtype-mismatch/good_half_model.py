"""Half models with half inputs, or with a choice."""

import torch

from detector import build


def run(device):
    model = build().to(device).eval()
    model.half()
    warm_up = torch.zeros(1, 3, 640, 640, device=device, dtype=torch.float16)
    with torch.no_grad():
        model(warm_up)
        model(torch.randn(1, 3, 640, 640, device=device).half())


def choose(device, half):
    model = build().to(device).eval()
    if half:
        model.half()
    image = torch.zeros(1, 3, 640, 640, device=device)
    return model(image.half() if half else image)


def convert(path, image):
    network = torch.jit.load(path).eval()
    network.half()
    return network(image.to(torch.float16))
