from torch.utils.data import DataLoader


def build(dataset):
    return DataLoader(dataset, num_workers=2, collate_fn=lambda batch: batch, multiprocessing_context="fork")
