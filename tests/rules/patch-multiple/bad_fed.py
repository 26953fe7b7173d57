import torch
from torchvision import transforms as T

backbone = torch.hub.load("facebookresearch/dinov2", "dinov2_vits14")

transform = T.Compose([T.Resize(256), T.CenterCrop(250), T.ToTensor()])
flops = backbone(torch.randn(1, 3, 256, 256))
