import timm
from torchvision import transforms

SIZE = 256

train_transform = transforms.Compose(
    [transforms.Resize((SIZE, SIZE)), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
)
model = timm.create_model("vit_base_patch16_224", num_classes=10)
