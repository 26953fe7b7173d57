import timm
import torch
from torchvision import transforms

model = timm.create_model("vit_base_patch16_224", img_size=256)
logits = model(torch.zeros(1, 3, 256, 256))
any_size = timm.create_model("vit_small_patch14_dinov2.lvd142m", dynamic_img_size=True)
tokens = any_size(torch.zeros(1, 3, 224, 224))
cnn = timm.create_model("efficientnet_b0")
maps = cnn(torch.zeros(1, 3, 333, 333))
transform = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
