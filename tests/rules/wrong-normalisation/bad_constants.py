import open_clip
import timm
import torch
from torch.utils.data import DataLoader
from torchvision import transforms as T
from torchvision.datasets import ImageFolder

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def loader(folder):
    preprocess = T.Compose([T.Resize(224), T.CenterCrop(224), T.ToTensor(), T.Normalize(mean=MEAN, std=STD)])
    return DataLoader(ImageFolder(folder, preprocess), batch_size=32)


@torch.no_grad()
def features(folder):
    model, _, _ = open_clip.create_model_and_transforms("ViT-B-32", pretrained="laion2b_s34b_b79k")
    return torch.cat([model.encode_image(images) for images, _ in loader(folder)])


def probe():
    return timm.create_model("vit_base_patch16_clip_224.openai", pretrained=True, num_classes=0)
