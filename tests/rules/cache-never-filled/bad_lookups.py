import functools
from functools import lru_cache
from multiprocessing import Manager

import torch


class Encoder(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, width, 1)
        self.position_cache = {}

    @lru_cache(maxsize=32)
    def grid(self, features: torch.Tensor):
        return torch.stack(torch.meshgrid(*[torch.arange(n) for n in features.shape[-2:]], indexing="ij"))

    def position(self, size):
        if size in self.position_cache:
            return self.position_cache[size]
        return torch.linspace(0, 1, size)


@functools.lru_cache(maxsize=0)
def read_table(path):
    with open(path) as file:
        return file.read()


class Shared:
    def __init__(self):
        self.cache = Manager().dict()

    def image(self, path):
        found = self.cache.get(path)
        return found if found is not None else read_table(path)
