import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import transforms
from torchvision.datasets import VOCSegmentation

NUM_CLASSES = 21
scaled = VOCSegmentation(
    "data", image_set="train", transform=transforms.ToTensor(), target_transform=transforms.ToTensor()
)


class Voc(Dataset):
    def __init__(self, root, names):
        self.root = root
        self.names = names

    def __getitem__(self, index):
        image = Image.open(f"{self.root}/JPEGImages/{self.names[index]}.jpg").convert("RGB")
        mask = Image.open(f"{self.root}/SegmentationClass/{self.names[index]}.png").convert("L")
        return transforms.functional.to_tensor(image), torch.from_numpy(np.array(mask)).long()


class VocWithOpenCV(Voc):
    def __getitem__(self, index):
        mask = cv2.imread(f"{self.root}/SegmentationClass/{self.names[index]}.png", cv2.IMREAD_GRAYSCALE)
        return torch.as_tensor(mask, dtype=torch.long)
