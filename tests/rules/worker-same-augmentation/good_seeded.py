import multiprocessing
import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

RNG = np.random.default_rng(0)
ORDER = RNG.permutation(1000)


def seed_worker(worker_id):
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)
    get_worker_info().dataset.rng = np.random.default_rng(seed)


class Globals(Dataset):
    """Draws from the global generators, which the loader seeds."""

    def __init__(self, images):
        self.images = images
        rng = np.random.default_rng(0)
        self.order = rng.permutation(len(images))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[self.order[index]].roll(int(np.random.randint(8)))
        return image.flip(-1) if random.random() < 0.5 else image + torch.randn_like(image)


class SeededByWorker(Dataset):
    def __init__(self, images):
        self.images = images
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index].roll(int(self.rng.integers(8)))


class SeededByIndex(Dataset):
    """The same for each sample in every epoch, as validation needs it."""

    def __init__(self, images, seed):
        self.images = images
        self.seed = seed

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        rng = np.random.default_rng(self.seed + index)
        return np.roll(self.images[index], rng.integers(8), axis=0)


class SamePair(Dataset):
    """Image and mask are to be cropped alike."""

    def __init__(self, images, masks, transform):
        self.images, self.masks, self.transform = images, masks, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        seed = random.randint(0, 2**31)
        torch.manual_seed(seed)
        image = self.transform(self.images[index])
        torch.manual_seed(seed)
        return image, self.transform(self.masks[index])


class InOneProcess(Dataset):
    def __init__(self, images):
        self.images = images
        self.rng = random.Random(0)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index] * self.rng.random()


def render(seed):
    return np.random.default_rng(seed).random((32, 32))


def seed_pool(base):
    np.random.seed(base + multiprocessing.current_process().pid % 1000)


def scatter(index):
    return np.random.rand(3)


def build(images, masks, transform):
    generator = torch.Generator().manual_seed(0)
    loaders = [
        DataLoader(Globals(images), num_workers=4, generator=generator),
        DataLoader(SeededByWorker(images), num_workers=4, worker_init_fn=seed_worker),
        DataLoader(SeededByIndex(images, 0), num_workers=4),
        DataLoader(SamePair(images, masks, transform), num_workers=4),
        DataLoader(InOneProcess(images), num_workers=0),
        DataLoader(Globals(images), num_workers=2, worker_init_fn=np.random.seed),
    ]
    with multiprocessing.Pool(4) as pool:
        pool.map(render, range(10))
    with multiprocessing.Pool(4, seed_pool, (1,)) as pool:
        pool.map(scatter, range(10))
    return loaders
