import albumentations as A
import clip
import cv2
import numpy as np
import timm
import torch
from albumentations.pytorch import ToTensorV2
from PIL import Image
from torch import nn
from torchvision import models, transforms
from torchvision.transforms import v2

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
model, preprocess = clip.load("ViT-B/32")
net = models.resnet18(weights="DEFAULT").eval()


def clip_features(path):
    return model.encode_image(preprocess(Image.open(path))[None])


def right_order():
    return transforms.Compose([transforms.Resize(256), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def scaled():
    return v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def on_bytes(path):
    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    return net(right_order()(image)[None])


def by_hand(path):
    image = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    image = (image - np.array(MEAN, dtype=np.float32)) / np.array(STD, dtype=np.float32)
    return net(torch.from_numpy(image).permute(2, 0, 1)[None])


def for_bytes(image):
    pixel_mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    return (image.float() - pixel_mean) / torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


def augmented():
    return A.Compose([A.Resize(256, 256), A.Normalize(), ToTensorV2()])


def from_the_library(name):
    backbone = timm.create_model(name, pretrained=True)
    return timm.data.create_transform(**timm.data.resolve_model_data_config(backbone))


class PerceptualLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = models.vgg16(weights="DEFAULT").features[:9]
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, x, y):
        return (self.features((x - self.mean) / self.std) - self.features((y - self.mean) / self.std)).abs().mean()
