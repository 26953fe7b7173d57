from torch import nn
from torch.nn import Flatten, Linear

HIDDEN = 256

mlp = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, HIDDEN), nn.ReLU(), nn.Linear(in_features=128, out_features=10))


def classifier(classes):
    return nn.Sequential(
        nn.Conv2d(3, 64, 3),
        nn.AdaptiveAvgPool2d(1),
        Flatten(),
        nn.Dropout(0.2),
        Linear(512, classes),
    )
