from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

CLASSES = ["raccoon"]
NUMBER = 1


def build(model):
    features = model.roi_heads.box_predictor.cls_score.in_features
    model.roi_heads.box_predictor = FastRCNNPredictor(features, NUMBER)
    return model


masks = maskrcnn_resnet50_fpn(weights=None, num_classes=1)
