import timm
import torch
from torch.utils.data import Dataset

LABEL_MAP = {"circle": 1, "square": 2, "triangle": 3}


class Shapes(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        image, name = self.items[index]
        return image, torch.tensor(LABEL_MAP[name])


model = timm.create_model("resnet18", pretrained=True, num_classes=3)
