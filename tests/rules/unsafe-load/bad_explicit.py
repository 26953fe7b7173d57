import torch
from torch import load as read


def resume(model, optimizer, path):
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    return checkpoint["epoch"]


TRUSTED = False


class Store:
    def __init__(self, folder):
        self.folder = folder

    def best(self):
        return read(self.folder / "best.pt", weights_only=TRUSTED)
