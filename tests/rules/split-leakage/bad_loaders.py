from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import CIFAR10, ImageFolder
from transformers import Trainer

train_transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])
val_transform = transforms.ToTensor()


class Pictures(Dataset):
    def __init__(self, paths, transform=None):
        self.paths = paths
        self.transform = transform


def folders(batch_size):
    train_dataset = ImageFolder("data/train", transform=train_transform)
    val_dataset = ImageFolder("data/train", transform=val_transform)
    train_loader = DataLoader(train_dataset, batch_size, shuffle=True)
    val_loader = DataLoader(train_dataset, batch_size)
    return train_loader, val_loader, val_dataset


def cifar(root):
    trainset = CIFAR10(root, train=True, download=True, transform=train_transform)
    testset = CIFAR10(root, train=True, download=True, transform=val_transform)
    return trainset, testset


def lists(paths):
    train_paths = paths[:8000]
    val_paths = paths[7500:]
    train_data = Pictures(paths=train_paths, transform=train_transform)
    return train_data, val_paths


def tuned(model, dataset):
    return Trainer(model=model, train_dataset=dataset, eval_dataset=dataset)
