import json

import albumentations as A
import cv2
import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.ops import box_iou
from ultralytics import YOLO

with open("instances_val.json") as file:
    annotations = json.load(file)["annotations"]
detector = YOLO("yolov8n.pt")
augment = A.Compose([A.HorizontalFlip()], bbox_params=A.BboxParams(format="pascal_voc", label_fields=["labels"]))


def overlap(predicted):
    truth = torch.tensor([one["bbox"] for one in annotations if one["iscrowd"] == 0])
    return box_iou(predicted, truth)


def suppressed(image):
    result = detector(image)[0]
    return torchvision.ops.nms(result.boxes.xywh, result.boxes.conf, 0.5)


def augmented(image, one):
    return augment(image=image, bboxes=[one["bbox"]], labels=[one["category_id"]])


def cropped(path, one):
    return Image.open(path).crop(one["bbox"])


def of_contour(path, contour):
    picture = Image.open(path)
    box = cv2.boundingRect(contour)
    return picture.crop(box)


def faces(image, cascade):
    cut = []
    for x, y, w, h in cascade.detectMultiScale(image):
        cut.append(image[y:h, x:w])
        cv2.rectangle(image, (x, y), (w, h), (255, 0, 0), 2)
    return cut, np.asarray(image)
