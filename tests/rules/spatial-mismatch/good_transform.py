import timm
from torchvision import transforms

transform = transforms.Compose([transforms.Resize(256), transforms.CenterCrop((224, 224)), transforms.ToTensor()])
model = timm.create_model("vit_base_patch16_224", num_classes=10)
