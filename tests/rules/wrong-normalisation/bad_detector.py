from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.transforms import Compose, Normalize, ToTensor

model = fasterrcnn_resnet50_fpn(weights="DEFAULT")
transform = Compose([ToTensor(), Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])


def step(pictures, targets):
    return model([transform(picture) for picture in pictures], targets)
