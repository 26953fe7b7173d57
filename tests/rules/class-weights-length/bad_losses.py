import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

NUM_CLASSES = 4
class_weights = [0.2, 0.5, 0.3]


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 16, 3, padding=1)
        self.out = nn.Conv2d(16, NUM_CLASSES, 1)
        self.criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 2.0]), ignore_index=255)

    def forward(self, images):
        return self.out(self.body(images))


def losses(logits, masks, device):
    balanced = nn.CrossEntropyLoss(torch.FloatTensor(class_weights).to(device))
    weights = torch.from_numpy(np.array([1.0, 1.0, 1.0, 3.0, 3.0])).float().to(device)
    return balanced(logits, masks) + F.cross_entropy(logits, masks, weight=weights)
