import torch
from torchvision.io import read_image
from torchvision.models import resnet50

model = resnet50().cuda().to(memory_format=torch.channels_last)
batch = torch.randn(8, 3, 224, 224).to("cuda", memory_format=torch.channels_last)
one = read_image("cat.png").unsqueeze(0).to(memory_format=torch.channels_last)


def move(x):
    return x.to(memory_format=torch.channels_last) if x.dim() == 4 else x
