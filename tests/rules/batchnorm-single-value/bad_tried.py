import torch
from torchvision.models.segmentation import deeplabv3_resnet50

model = deeplabv3_resnet50(weights=None, num_classes=4)
example = torch.randn(1, 3, 256, 256)
print(model(example)["out"].shape)
