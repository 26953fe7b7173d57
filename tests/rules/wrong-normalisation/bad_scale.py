import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import models, transforms
from torchvision.io import read_image
from torchvision.transforms import functional as TF

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

net = models.resnet18(weights="IMAGENET1K_V1").eval()
preprocess = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def floats_are_not_divided(path):
    image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB).astype(np.float32)
    return net(preprocess(image)[None])


def bytes_as_floats(path):
    image = read_image(path).float()
    return net(TF.normalize(image, MEAN, STD)[None])


def by_hand(path):
    image = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)
    image = (image - IMAGENET_MEAN) / IMAGENET_STD
    return net(torch.from_numpy(image).permute(2, 0, 1)[None])


def twice(path):
    image = transforms.ToTensor()(Image.open(path).convert("RGB")) / 255.0
    return net(image[None])
