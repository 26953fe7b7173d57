import torch.nn as nn

stem = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1),
    nn.BatchNorm2d(64),
    nn.ReLU(inplace=True),
    nn.MaxPool2d(2),
)

deeper = nn.Sequential(
    nn.Conv2d(in_channels=16, out_channels=32, kernel_size=3),
    nn.Sequential(nn.ReLU(), nn.Dropout2d(0.1)),
    nn.Conv2d(64, 64, 3),
)
