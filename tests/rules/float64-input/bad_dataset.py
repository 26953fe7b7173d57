import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


def load(path):
    return np.asarray(Image.open(path).convert("RGB")) / 255.0


class Pictures(Dataset):
    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image = load(self.paths[index]).transpose(2, 0, 1)
        return torch.from_numpy(image), index


def batches(paths):
    yield from DataLoader(Pictures(paths), batch_size=4)
