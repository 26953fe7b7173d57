import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

cropped = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
both = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
square_first = transforms.Compose([transforms.RandomResizedCrop(256), transforms.Resize(224), transforms.ToTensor()])
single = transforms.Compose([transforms.Resize(224), transforms.ToTensor()])


class Boxes(Dataset):
    def __init__(self, images, boxes):
        self.images, self.boxes = images, boxes

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], {"boxes": torch.as_tensor(self.boxes[index])}


def pairs(batch):
    return tuple(zip(*batch))


def build(root, images, boxes):
    loaders = [DataLoader(ImageFolder(root, transform), batch_size=32) for transform in (cropped, both, square_first)]
    loaders.append(DataLoader(Boxes(images, boxes), batch_size=4, collate_fn=pairs))
    return loaders


def predict(model, path):
    return model(single(Image.open(path).convert("RGB"))[None])
