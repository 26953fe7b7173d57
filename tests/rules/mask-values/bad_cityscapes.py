from torch import nn
from torchvision.datasets import Cityscapes
from torchvision.models.segmentation import deeplabv3_resnet50

model = deeplabv3_resnet50(weights=None, num_classes=19)
criterion = nn.CrossEntropyLoss()
train = Cityscapes("data/cityscapes", split="train", mode="fine", target_type="semantic")
