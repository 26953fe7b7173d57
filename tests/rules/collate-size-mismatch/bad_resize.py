from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

train_transform = transforms.Compose(
    [
        transforms.Resize(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)


def build(root, batch_size):
    train = ImageFolder(root / "train", transform=train_transform)
    val = ImageFolder(root / "val", v2.Compose([v2.ToImage(), v2.Resize(size=[256])]))
    return DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size)
