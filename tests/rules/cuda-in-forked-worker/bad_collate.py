import torch
from torch.utils.data import DataLoader


def collate(batch):
    images, labels = zip(*batch)
    return torch.stack(images).to("cuda", non_blocking=True), torch.tensor(labels).cuda()


class Module:
    def __init__(self, dataset, num_workers: int = 8):
        self.dataset = dataset
        self.num_workers = num_workers

    def train_dataloader(self):
        return DataLoader(self.dataset, batch_size=8, collate_fn=collate, num_workers=self.num_workers)
