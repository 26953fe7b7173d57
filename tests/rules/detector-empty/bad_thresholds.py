from torchvision.models.detection import fasterrcnn_resnet50_fpn
from ultralytics import YOLO

LIMIT = 50

yolo = YOLO("yolo11n.pt")
results = yolo.predict("street.jpg", conf=25)
detector = fasterrcnn_resnet50_fpn(weights="DEFAULT", box_score_thresh=LIMIT)


def objects(processor, outputs, sizes):
    return processor.post_process_object_detection(outputs, target_sizes=sizes, threshold=70)
