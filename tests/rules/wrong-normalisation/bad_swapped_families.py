import torch
import torchvision.transforms as transforms
from torchvision import models


def build(classes):
    net = models.resnet50(weights=models.ResNet50_Weights.DEFAULT)
    net.fc = torch.nn.Linear(net.fc.in_features, classes)
    return net


train_transform = transforms.Compose(
    [
        transforms.RandomResizedCrop(224),
        transforms.ToTensor(),
        transforms.Normalize([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    ]
)
