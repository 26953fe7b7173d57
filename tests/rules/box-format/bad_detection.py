import torch
from PIL import Image
from pycocotools.coco import COCO
from torch.utils.data import Dataset
from torchvision.models.detection import fasterrcnn_resnet50_fpn

model = fasterrcnn_resnet50_fpn(num_classes=3)


class Animals(Dataset):
    def __init__(self, folder, annotations):
        self.folder = folder
        self.coco = COCO(annotations)
        self.ids = list(self.coco.imgs)

    def __getitem__(self, index):
        number = self.ids[index]
        found = self.coco.loadAnns(self.coco.getAnnIds(imgIds=number))
        boxes = [one["bbox"] for one in found]
        target = {}
        target["boxes"] = torch.as_tensor(boxes, dtype=torch.float32)
        target["labels"] = torch.tensor([one["category_id"] for one in found])
        return Image.open(f"{self.folder}/{number}.jpg"), target


class Plants(Animals):
    def __getitem__(self, index):
        number = self.ids[index]
        boxes, labels = [], []
        for one in self.coco.loadAnns(self.coco.getAnnIds(imgIds=number)):
            boxes.append(one["bbox"])
            labels.append(one["category_id"])
        picture = Image.open(f"{self.folder}/{number}.jpg")
        return picture, {"boxes": torch.tensor(boxes).float(), "labels": torch.tensor(labels)}


class Rocks(Animals):
    def __getitem__(self, index):
        found = self.coco.loadAnns(self.coco.getAnnIds(imgIds=self.ids[index]))
        boxes = []
        for one in found:
            x, y, w, h = one["bbox"]
            boxes.append([x, y, w, h])
        return dict(boxes=torch.FloatTensor(boxes), labels=torch.ones(len(boxes)).long())
