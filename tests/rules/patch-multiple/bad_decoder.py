import albumentations as A
import segmentation_models_pytorch as smp
from albumentations.pytorch import ToTensorV2

net = smp.Unet("resnet34", classes=4)
augment = A.Compose([A.HorizontalFlip(), A.Resize(height=500, width=750), ToTensorV2()])
