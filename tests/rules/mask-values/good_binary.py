import cv2
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

criterion = nn.BCEWithLogitsLoss()


class Cells(Dataset):
    def __init__(self, images, masks):
        self.images = images
        self.masks = masks

    def __getitem__(self, index):
        mask = np.array(Image.open(self.masks[index]).convert("L")) > 127
        return torch.from_numpy(mask)[None].float()


class CellsWithOpenCV(Cells):
    def __getitem__(self, index):
        mask = cv2.imread(self.masks[index], cv2.IMREAD_GRAYSCALE)
        return torch.from_numpy(mask).float() / 255
