"""Needs torch==1.7.1."""

import numpy as np
import torch.utils.data as data


class Jittered(data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return np.roll(self.images[index], np.random.randint(8), axis=1)


def build(images):
    return data.DataLoader(Jittered(images), batch_size=4, num_workers=4)
