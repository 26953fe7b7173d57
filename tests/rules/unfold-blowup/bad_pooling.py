import torch
import torch.nn as nn
import torch.nn.functional as F


class Correlation(nn.Module):
    def __init__(self):
        super().__init__()
        self.unfold = nn.Unfold(12, stride=4)

    def descriptors(self, features):
        patches = F.unfold(features, kernel_size=12, stride=4)
        batch, _, count = patches.shape
        return patches.view(batch, -1, 144, count).mean(2)

    def forward(self, features):
        patches = F.normalize(self.unfold(features), dim=1)
        return torch.bmm(patches.transpose(1, 2), patches)


def centred(features, patch):
    columns = F.unfold(features, kernel_size=patch, stride=1, padding=patch // 2)
    columns = columns - columns.mean(dim=1, keepdim=True)
    return columns.transpose(1, 2) @ columns
