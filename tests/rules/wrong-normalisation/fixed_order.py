import albumentations as A
import torch
from albumentations.pytorch import ToTensorV2
from torchvision import transforms
from torchvision.transforms import v2

early = transforms.Compose(
    [
        transforms.Resize((224, 224)),
        transforms.ToTensor(),
        transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    ]
)
steps = [v2.ToImage(), v2.Resize(224), v2.ToDtype(torch.float32), v2.Normalize([0.5], [0.5])]
unscaled = v2.Compose(steps)
for_bytes = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])]
)
twice = A.Compose([A.Resize(256, 256), A.ToFloat(max_value=255), A.Normalize(), ToTensorV2()])
