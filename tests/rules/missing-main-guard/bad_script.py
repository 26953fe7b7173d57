import torch
from torch.utils.data import DataLoader
from torchvision.datasets import FakeData
from torchvision.transforms import ToTensor

dataset = FakeData(size=64, transform=ToTensor())
loader = DataLoader(dataset, batch_size=8, num_workers=4)
total = torch.zeros(3)
for index, (images, labels) in enumerate(loader):
    total += images.mean(dim=(0, 2, 3))
print(total / len(loader))
