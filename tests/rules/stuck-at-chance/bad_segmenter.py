from segmentation_models_pytorch import FPN
from torch import nn


class Trainer:
    def __init__(self):
        self.model = FPN("resnet18", in_channels=4)
        self.loss = nn.CrossEntropyLoss(ignore_index=255)

    def step(self, image, mask):
        logits = self.model(image)
        return self.loss(logits, mask)
