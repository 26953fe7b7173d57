import h5py
from PIL import Image
from torch.utils.data import Dataset


class Stack(Dataset):
    def __init__(self, paths):
        self.images = [Image.open(path) for path in paths]
        self.volumes = []
        for path in paths:
            self.volumes.append(h5py.File(path, "r"))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.volumes[index]["image"][:]


class Mapped(Dataset):
    def __init__(self, paths):
        self.arrays = {path: h5py.File(path, "r") for path in paths}

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, key):
        return self.arrays[key]["image"][:]
