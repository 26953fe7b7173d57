import multiprocessing

import h5py
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Volumes(Dataset):
    def __init__(self, path):
        self.file = h5py.File(path, "r")
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda x: x * 2 - 1)])

    def __len__(self):
        return len(self.file["images"])

    def __getitem__(self, index):
        return self.transform(self.file["images"][index])


def main(path):
    multiprocessing.set_start_method("spawn")

    def collate(batch):
        return torch.stack(batch)

    return DataLoader(Volumes(path), batch_size=4, num_workers=2, collate_fn=collate)


if __name__ == "__main__":
    main("volumes.h5")
