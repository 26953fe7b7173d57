import torch.nn.functional as F
from segmentation_models_pytorch import DeepLabV3Plus


class Segmenter:
    def __init__(self, device):
        self.model = DeepLabV3Plus("resnet50").to(device)

    def probabilities(self, image):
        outputs = self.model(image)
        return F.softmax(outputs, dim=1)
