import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class NoisyImages(Dataset):
    def __init__(self, images, sigma=0.1):
        self.images = images
        self.sigma = sigma
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return image + torch.as_tensor(self.rng.normal(0, self.sigma, image.shape), dtype=torch.float32)


class Crops(Dataset):
    def __init__(self, images):
        self.images = images
        self.random = random.Random(1234)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self._crop(self.images[index])

    def _crop(self, image):
        top = self.random.randrange(image.shape[1] - 64)
        return image[:, top : top + 64]


class Patches(torch.utils.data.IterableDataset):
    def __init__(self, image):
        self.image = image
        self.generator = torch.Generator().manual_seed(0)

    def __iter__(self):
        while True:
            left = int(torch.randint(0, 100, (1,), generator=self.generator))
            yield self.image[:, :, left : left + 32]


def build(images, workers=4):
    train = DataLoader(NoisyImages(images), batch_size=8, shuffle=True, num_workers=workers)
    crops = DataLoader(dataset=Crops(images), batch_size=8, num_workers=2)
    patches = DataLoader(Patches(images[0]), batch_size=8, num_workers=2)
    return train, crops, patches
