import sys

from torch.utils.data import DataLoader

WORKERS = 0 if sys.gettrace() else 4
device = "mps" if sys.platform == "darwin" else "cuda"


def loaders(dataset, num_workers=4):
    pairs = DataLoader(dataset, batch_size=2, num_workers=num_workers, collate_fn=lambda batch: tuple(zip(*batch)))
    seeded = DataLoader(dataset, num_workers=2, worker_init_fn=lambda index: print("worker", index))
    return pairs, seeded
