import albumentations as A
import cv2
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch.utils.data import Dataset
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.ops import nms
from ultralytics import YOLO

model = fasterrcnn_resnet50_fpn(num_classes=3)
detector = YOLO("yolov8n.pt")
augment = A.Compose([A.HorizontalFlip()], bbox_params=A.BboxParams(format="coco", label_fields=["labels"]))


class Animals(Dataset):
    def __init__(self, annotations):
        self.coco = COCO(annotations)

    def __getitem__(self, index):
        found = self.coco.loadAnns([index])
        boxes = []
        for one in found:
            x, y, w, h = one["bbox"]
            boxes.append([x, y, x + w, y + h])
        return {"boxes": torch.tensor(boxes).float(), "labels": torch.ones(len(boxes))}


class InPlace(Animals):
    def __getitem__(self, index):
        boxes = torch.tensor([one["bbox"] for one in self.coco.loadAnns([index])])
        boxes[:, 2:] += boxes[:, :2]
        target = {"labels": torch.ones(len(boxes))}
        target["boxes"] = boxes
        return target


def suppressed(image):
    result = detector(image)[0]
    return nms(result.boxes.xyxy, result.boxes.conf, 0.5)


def augmented(image, one):
    return augment(image=image, bboxes=[one["bbox"]], labels=[one["category_id"]])


def faces(image, cascade):
    cut = []
    for x, y, w, h in cascade.detectMultiScale(image):
        cut.append(image[y : y + h, x : x + w])
        cv2.rectangle(image, (x, y), (x + w, y + h), (255, 0, 0), 2)
    return cut


def of_contour(path, contour):
    x, y, w, h = cv2.boundingRect(contour)
    return Image.open(path).crop((x, y, x + w, y + h))


def area(one):
    return one["bbox"][2] * one["bbox"][3]


class AddedLater(Animals):
    def __getitem__(self, index):
        boxes, labels = [], []
        for one in self.coco.loadAnns([index]):
            boxes.append([float(number) for number in one["bbox"]])
            labels.append(one["category_id"])
        target = {}
        target["boxes"] = torch.as_tensor(boxes, dtype=torch.float32)
        target["boxes"][:, 2:] += target["boxes"][:, :2]
        target["labels"] = torch.as_tensor(labels)
        return target
