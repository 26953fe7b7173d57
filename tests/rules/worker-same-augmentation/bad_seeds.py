import multiprocessing
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

RNG = np.random.RandomState(7)


def seed_worker(worker_id):
    np.random.seed(42)
    random.seed(42)


def seed_all(worker_id):
    seed = 1 + 2
    torch.manual_seed(seed)


class Mixed(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        other = RNG.randint(len(self.images))
        return 0.5 * self.images[index] + 0.5 * self.images[other]


class Flipped(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        random.seed(0)
        image = self.images[index]
        return image.flip(-1) if random.random() < 0.5 else image


def synthesise(index):
    return np.random.rand(32, 32, 3)


def build(images, args):
    mixed = DataLoader(Mixed(images), batch_size=4, num_workers=args.workers)
    flipped = DataLoader(Flipped(images), batch_size=4, num_workers=4, worker_init_fn=seed_worker)
    third = DataLoader(images, num_workers=2, worker_init_fn=seed_all)
    with multiprocessing.Pool(4) as pool:
        samples = pool.map(synthesise, range(100))
    return mixed, flipped, third, samples
