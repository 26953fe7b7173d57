import torch
from torch.utils.data import DataLoader


def first(batch):
    return batch[0]


def build(dataset):
    keep = lambda batch: batch  # noqa: E731
    return [
        DataLoader(dataset, num_workers=2, collate_fn=keep, multiprocessing_context="forkserver"),
        DataLoader(dataset, num_workers=2, collate_fn=first, multiprocessing_context="forkserver"),
    ]
