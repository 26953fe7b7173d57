import torchvision
from torch.nn.functional import cross_entropy

CLASSES = 1
model = torchvision.models.segmentation.deeplabv3_resnet50(num_classes=CLASSES)
other = torchvision.models.resnet18(num_classes=CLASSES)


def loss(images, labels):
    return cross_entropy(other(images), labels)
