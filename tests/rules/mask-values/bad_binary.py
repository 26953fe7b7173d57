import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

model = smp.Unet("resnet34", encoder_weights=None, classes=1)
criterion = nn.BCEWithLogitsLoss()


class Cells(Dataset):
    def __init__(self, images, masks):
        self.images = images
        self.masks = masks

    def __getitem__(self, index):
        image = np.array(Image.open(self.images[index]).convert("RGB"))
        mask = np.array(Image.open(self.masks[index]).convert("L"))
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255, torch.from_numpy(mask)[None].float()


class CellsWithOpenCV(Cells):
    def __getitem__(self, index):
        mask = cv2.imread(self.masks[index], cv2.IMREAD_GRAYSCALE)
        return torch.from_numpy(mask).float()


def export(mask, name):
    cv2.imwrite(f"data/masks/{name}.jpg", mask)
