import functools
from multiprocessing import Manager

import torch
from torch.utils.data import DataLoader, Dataset


class Kept(Dataset):
    """Its workers live as long as the loader."""

    def __init__(self, paths):
        self.paths = paths
        self.cache = {}

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        if index not in self.cache:
            self.cache[index] = load(self.paths[index])
        return self.cache[index]


class Preloaded(Dataset):
    def __init__(self, paths):
        self.paths = sorted(paths)
        self.cache = {}
        self._preload()

    def _preload(self):
        for index, path in enumerate(self.paths):
            self.cache[index] = load(path)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        if index not in self.cache:
            self.cache[index] = load(self.paths[index])
        return self.cache[index]


class SharedCache(Dataset):
    def __init__(self, paths):
        self.paths = paths
        self.cache = Manager().dict()

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        if index not in self.cache:
            self.cache[index] = load(self.paths[index])
        return self.cache[index]


class OneProcess(Dataset):
    def __init__(self, paths):
        self.paths = paths
        self.cache = {}

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        if index not in self.cache:
            self.cache[index] = load(self.paths[index])
        return self.cache[index]


class Grid(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cache = {}
        self.memo = dict()

    @functools.lru_cache(maxsize=8)
    def coordinates(self, height: int, width: int):
        return torch.zeros(height, width)

    def forward(self, x):
        size = x.shape[-2:]
        if size not in self.cache:
            self.cache[size] = torch.zeros(size)
        remember(self.memo, size)
        return x + self.cache[size] + self.memo[size]


def remember(memo, size):
    memo.setdefault(size, 0)


def load(path):
    return path.read_bytes()


def build(paths):
    return [
        DataLoader(Kept(paths), num_workers=4, persistent_workers=True),
        DataLoader(Preloaded(paths), num_workers=4),
        DataLoader(SharedCache(paths), num_workers=4),
        DataLoader(OneProcess(paths), num_workers=0),
    ]
