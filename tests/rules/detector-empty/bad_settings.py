import torch
from detectron2.config import get_cfg

cfg = get_cfg()
cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 60

model = torch.hub.load("ultralytics/yolov5", "yolov5s")
model.conf = 40


def grounded(predict, net, image, caption):
    return predict(model=net, image=image, caption=caption, box_threshold=35, text_threshold=0.25)
