import torch
import torchvision.transforms.functional as TF
from PIL import Image
from torchvision.io import read_image


def load(path):
    image = TF.to_tensor(Image.open(path).convert("RGB"))
    return image.to(memory_format=torch.channels_last)


def read(path):
    image = read_image(path).float()
    return image.contiguous(memory_format=torch.channels_last)
