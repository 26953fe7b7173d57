import torch
from torchvision.models.detection import fasterrcnn_resnet50_fpn, retinanet_resnet50_fpn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from ultralytics import YOLO

yolo = YOLO("yolo11n.pt")
results = yolo.predict("street.jpg", conf=0.25)
detector = fasterrcnn_resnet50_fpn(weights="DEFAULT", box_score_thresh=0.5)
one = retinanet_resnet50_fpn(num_classes=1)
head = FastRCNNPredictor(1024, 2)
hub = torch.hub.load("ultralytics/yolov5", "yolov5s")
hub.conf = 0.4


def read(ocr, page, confidence):
    return ocr(page, conf=60), page.find(threshold=70), confidence
