"""A network of its own, trained from scratch on whatever order OpenCV gives, and used on the same."""

import cv2
import torch
from torch import nn
from torch.utils.data import Dataset


class Pictures(Dataset):
    def __init__(self, paths):
        self.paths = paths

    def __getitem__(self, index):
        image = cv2.imread(self.paths[index])
        return torch.from_numpy(image).permute(2, 0, 1).float() / 255


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3)

    def forward(self, x):
        return self.first(x)


def predict(path):
    net = Net()
    image = torch.from_numpy(cv2.imread(path)).permute(2, 0, 1).float() / 255
    return net(image[None])
