import segmentation_models_pytorch as smp
import timm
import torch
from torchvision import transforms as T

plain = timm.create_model("vit_base_patch16_224", img_size=384)
padded = timm.create_model("vit_base_patch16_224", dynamic_img_size=True, dynamic_img_pad=True)
features = padded(torch.randn(1, 3, 250, 250))
cnn = timm.create_model("resnet50")
pooled = cnn(torch.randn(1, 3, 250, 250))
shallow = smp.Unet("resnet18", encoder_depth=3)
mask = shallow(torch.zeros(1, 3, 120, 120))
transform = T.Compose([T.Resize(250), T.ToTensor()])
