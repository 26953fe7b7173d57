import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn

CLASSES = ("cat", "dog")
LABEL_MAP = {"cat": 1, "dog": 2}
class_to_idx = {name: index for index, name in enumerate(CLASSES, start=1)}


def build():
    num_classes = len(CLASSES) + 1
    return fasterrcnn_resnet50_fpn(num_classes=num_classes)
