import functools

import h5py
import torch
from torch.utils.data import DataLoader, Dataset

torch.multiprocessing.set_start_method("spawn", force=True)


def collate(batch, size):
    return torch.stack(batch)[:size]


class Volumes(Dataset):
    """Opens its file in the worker."""

    def __init__(self, path):
        self.path = path
        self.file = None

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if self.file is None:
            self.file = h5py.File(self.path, "r")
        return torch.from_numpy(self.file["images"][index])

    @staticmethod
    def collate(batch):
        return torch.stack(batch)


def build(path):
    order = sorted(range(8), key=lambda index: -index)
    return [
        DataLoader(Volumes(path), num_workers=2, collate_fn=functools.partial(collate, size=4), sampler=order),
        DataLoader(Volumes(path), num_workers=2, collate_fn=Volumes.collate),
        DataLoader(Volumes(path), collate_fn=lambda batch: batch),
    ]
