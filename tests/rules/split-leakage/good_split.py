import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.preprocessing import LabelEncoder, StandardScaler
from torch.utils.data import DataLoader, Subset, random_split
from torchvision import transforms
from torchvision.datasets import CIFAR10, ImageFolder

train_transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])
val_transform = transforms.ToTensor()


def folders(batch_size):
    train_dataset = ImageFolder("data/train", transform=train_transform)
    val_dataset = ImageFolder("data/val", transform=val_transform)
    return DataLoader(train_dataset, batch_size, shuffle=True), DataLoader(val_dataset, batch_size)


def subsets(root, order):
    train_dataset = ImageFolder(root, transform=train_transform)
    val_dataset = ImageFolder(root, transform=val_transform)
    return Subset(train_dataset, order[:800]), Subset(val_dataset, order[800:])


def cifar(root):
    trainset = CIFAR10(root, train=True, transform=train_transform)
    testset = CIFAR10(root, train=False, transform=val_transform)
    return trainset, testset


def scaled(features, labels):
    labels = LabelEncoder().fit_transform(labels)
    train_x, val_x, train_y, val_y = train_test_split(features, labels)
    scaler = StandardScaler()
    return scaler.fit_transform(train_x), scaler.transform(val_x), train_y, val_y


def grouped(frames, videos):
    train, val = next(GroupShuffleSplit(n_splits=1).split(frames, groups=videos))
    return np.array(frames)[train], np.array(frames)[val]


def lists(paths, split):
    train_paths, val_paths = paths[:split], paths[split:]
    train_files = paths[:800]
    val_files = paths[800:]
    return train_paths, val_paths, train_files, val_files


def plain(root):
    return random_split(ImageFolder(root), [0.9, 0.1])


def folds(train_data, splits, batch_size):
    for train_index, val_index in splits:
        train_loader = DataLoader(train_data[train_index], batch_size, shuffle=True)
        val_loader = DataLoader(train_data[val_index], batch_size)
        train_eval_loader = DataLoader(train_data, batch_size)
        yield train_loader, val_loader, train_eval_loader
