import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.datasets import VOCSegmentation

num_classes = 21
criterion = nn.CrossEntropyLoss(ignore_index=255)
voc = VOCSegmentation("data", image_set="val", target_transform=transforms.PILToTensor())


class Voc(Dataset):
    def __init__(self, root, names):
        self.root = root
        self.names = names

    def __getitem__(self, index):
        image = Image.open(f"{self.root}/JPEGImages/{self.names[index]}.jpg").convert("RGB")
        mask = Image.open(f"{self.root}/SegmentationClass/{self.names[index]}.png")
        return transforms.functional.to_tensor(image), torch.from_numpy(np.array(mask)).long()


def export(mask, overlay, name):
    cv2.imwrite(f"data/masks/{name}.png", mask)
    cv2.imwrite(f"out/overlays/{name}.jpg", overlay)
