import subprocess

import torch


def train(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    images = images.to("cuda:0")
    return model(images)


subprocess.run(["conda", "install", "-y", "pytorch", "cpuonly", "-c", "pytorch"], check=True)
