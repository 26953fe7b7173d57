import albumentations
from timm import create_model

crop = albumentations.Compose([albumentations.Resize(300, 300), albumentations.RandomCrop(width=256, height=256)])
backbone = create_model("deit_small_patch16_224")
