import torch
from torch import nn
from torchvision.datasets import VOCSegmentation

LABEL_MAP = {"circle": 0, "square": 1, "triangle": 2}
CLASSES = ("circle", "square", "triangle")
class_to_idx = {name: index for index, name in enumerate(CLASSES)}


def build(root, transforms):
    voc = VOCSegmentation(root, transforms=transforms)
    ignoring = nn.CrossEntropyLoss(ignore_index=255)
    return voc, ignoring, nn.Linear(512, len(CLASSES))
