import torch
from torch.utils.data import DataLoader


def collect(dataset, model):
    loader = DataLoader(dataset, batch_size=32, num_workers=4)
    labels, images = [], []
    for image, label in loader:
        labels.append(label)
    for index, batch in enumerate(loader):
        images.append(batch)
    return torch.cat(labels), images


class Evaluator:
    def __init__(self, dataset):
        self.loader = DataLoader(dataset, batch_size=32, num_workers=8)
        self.targets = []

    def run(self, model):
        for batch in self.loader:
            target = batch["target"]
            self.targets.append(target)
        return self.targets
