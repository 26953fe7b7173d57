import torch
from torch.utils.data import DataLoader, Dataset, random_split
from torchvision.datasets import CocoDetection


class Fruit(Dataset):
    def __init__(self, images, boxes):
        self.images, self.boxes = images, boxes

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        target = {"boxes": torch.as_tensor(self.boxes[index]), "labels": torch.ones(len(self.boxes[index])).long()}
        return self.images[index], target


def build(images, boxes, root):
    train, val = random_split(Fruit(images, boxes), [0.8, 0.2])
    coco = CocoDetection(root, root / "instances.json")
    return DataLoader(train, batch_size=4, shuffle=True), DataLoader(coco, batch_size=2)
