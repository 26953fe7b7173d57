import torch
from albumentations import Compose, PadIfNeeded
from torchvision.models.detection import FasterRCNN

transform = Compose([PadIfNeeded(min_height=None, min_width=None, pad_height_divisor=32, pad_width_divisor=32)])


def build(backbone):
    return FasterRCNN(backbone, num_classes=2, size_divisible=64)


backbone = torch.hub.load("facebookresearch/dinov2", "dinov2_vitl14")
