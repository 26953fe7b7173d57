"""A detector is made half; what it is warmed up with is not."""

import torch

from detector import build


def run(device):
    model = build().to(device).eval()
    model.half()
    warm_up = torch.zeros(1, 3, 640, 640, device=device)
    with torch.no_grad():
        model(warm_up)


def embed(path):
    encoder = torch.jit.load(path).eval()
    encoder = encoder.half()
    return encoder(torch.randn(4, 3, 224, 224).to("cuda"))


class Service:
    def start(self, network):
        network.eval()
        network.half()
        sample = torch.rand(1, 3, 512, 512).cuda()
        self.result = network(sample)
